package benchcmd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/vk"
)

// listed is a row as -list prints it, for peers/pytorch.py to measure the same.
type listed struct {
	Name      string                `json:"name"`
	Shape     string                `json:"shape"`
	Structure *nn.TransformerConfig `json:"structure,omitempty"` // of a training step
	DType     string                `json:"dtype,omitempty"`
}

// list prints the rows that would be measured, a JSON object a line.
func list(w io.Writer, c config) error {
	wanted, err := c.filter()
	if err != nil {
		return err
	}
	dev, err := vk.Open(&vk.Options{Device: c.device, CompileOnly: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	c.gpu = dev.Info().Kind != vk.CPU
	kernels, steps := chosen(c)
	kernels = withCeilings(c, dev.Info(), kernels)
	if err := checkWanted(c, kernels, steps, wanted); err != nil {
		return err
	}
	out := json.NewEncoder(w)
	for _, k := range kernels {
		for _, p := range k.parts {
			if !wanted(p.name + " " + k.shape) {
				continue
			}
			if err := out.Encode(listed{Name: p.name, Shape: k.shape}); err != nil {
				return err
			}
		}
	}
	for _, m := range steps {
		if m.steps != 0 || m.decodes || !wanted(m.name+" "+m.shape()) {
			continue
		}
		cfg := m.cfg.Resolved()
		if err := out.Encode(listed{m.name, m.shape(), &cfg, m.dtype.String()}); err != nil {
			return err
		}
	}
	return nil
}

// peers are what another library takes for the same rows: the file of -peers.
type peers struct {
	head
	by  map[string][]peerRow // by the last of their rows' names, and shape
	own map[string]float64   // nanoseconds of this run's rows, by name and shape
	met bool                 // a row of this run has one
}

// peerRow is one way to do the work of some rows together.
type peerRow struct {
	Peer  string   `json:"peer"`
	Names []string `json:"names"`
	Shape string   `json:"shape"`
	Nanos float64  `json:"ns"`
	Error string   `json:"error"`
}

// readPeers reads the file of -peers; nil without one.
func readPeers(name string) (*peers, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("bench: -peers: %w", err)
	}
	p := &peers{by: map[string][]peerRow{}, own: map[string]float64{}}
	for line := range bytes.Lines(file) {
		var x struct {
			head
			peerRow
		}
		if err := json.Unmarshal(line, &x); err != nil {
			return nil, fmt.Errorf("bench: -peers: %s is not what peers/pytorch.py writes: %w", name, err)
		}
		switch {
		case x.Device != "":
			p.head = x.head
		case x.Nanos > 0 && len(x.Names) > 0:
			key := x.Names[len(x.Names)-1] + " " + x.Shape
			p.by[key] = append(p.by[key], x.peerRow)
		}
	}
	if p.Device == "" || len(p.by) == 0 {
		return nil, fmt.Errorf("bench: -peers: %s has no device or no times: is it what peers/pytorch.py writes?", name)
	}
	return p, nil
}

// ratios says how many times as fast as each way of the peer a row is, together with those of this run that share its work.
func (p *peers) ratios(name, shape string, nanos float64) map[string]float64 {
	if p == nil {
		return nil
	}
	p.own[name+" "+shape] = nanos
	var all map[string]float64
	for _, x := range p.by[name+" "+shape] {
		own := 0.0
		for _, n := range x.Names {
			took, measured := p.own[n+" "+x.Shape]
			if !measured {
				own = 0
				break
			}
			own += took
		}
		if own > 0 {
			if all == nil {
				all = map[string]float64{}
			}
			all[x.Peer], p.met = x.Nanos/own, true
		}
	}
	return all
}

// checkMet is the error of peers that no row had.
func (p *peers) checkMet() error {
	if p == nil || p.met {
		return nil
	}
	return fmt.Errorf("-peers: the file has none of these rows at these shapes: let -list, with the same -size, -run and -skip, print what peers/pytorch.py is to measure")
}

// lowest is the ratio to the fastest way, and all of them where there are several.
func lowest(ratios map[string]float64) (least, all string) {
	if len(ratios) == 0 {
		return "", ""
	}
	names := slices.SortedFunc(maps.Keys(ratios), func(a, b string) int {
		return cmp.Or(cmp.Compare(ratios[a], ratios[b]), cmp.Compare(a, b))
	})
	var ways []string
	for _, n := range names {
		ways = append(ways, fmt.Sprintf("%s %.2fx", n, ratios[n]))
	}
	if len(ways) > 1 {
		all = strings.Join(ways, ", ")
	}
	return fmt.Sprintf("%.2fx", ratios[names[0]]), all
}
