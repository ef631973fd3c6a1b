// Package benchcmd is the command bench: it measures the kernels of package shaders on
// one device, through the calls of ops and optim that training makes.
//
// Each run is paired with two copies by shaders, the yardsticks for what the
// memory allows:
//
//   - copy, for "% copy": the copy that comes to mind first, y[i] = x[i] with
//     16 bytes for each invocation in workgroups of 256;
//
//   - fastest copy, for "% best": the fastest that was found for the device,
//     with its own workgroups, several groups of 16 bytes for each invocation
//     and, on lavapipe, words of 64 bits.
//
// Every table begins with the ceilings of the device: copies of several sizes, and
// multiply-adds in registers, of f32 and, where there are matrix cores, of what
// these multiply. "% ceiling" is of the copies that no cache can hold, for rows with
// GB/s, and of the multiply-adds that the kernel uses, for those with GFLOP/s.
package benchcmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/tools/internal/ceilings"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/tools/internal/devicescmd"
	"github.com/lemnos-ml/lemnos/vk"
)

// Command measures every kernel on one device.
var Command = &command.Command{
	Name:  "bench",
	Usage: "[flags]",
	Short: "Measure every kernel on one device",
	Long: `Every result is checked against the host before it is timed; one that differs is marked,
and makes bench fail at its end. Times are the device's own, medians of several runs. On a
processor the rows that take it long are measured where -run asks for them. The ceilings of
the device, which come first, are kept: train tells what share of them a run reaches.

With -counts it measures nothing: it plans the training steps and prints what each has to
do, by operation. No hardware is needed for that where the driver can do without, as
Mesa's can: RADV_FORCE_FAMILY=navi21 VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/radeon_icd.x86_64.json
`,
	Examples: []string{
		"lemnos bench -quick                      # does everything work here?",
		"lemnos bench -run 'matmul|attention'     # some rows",
		"lemnos bench -json new.json -compare old.json",
	},
	Flags: func() *flag.FlagSet { return flags(new(config)) },
	Values: map[string]command.Values{
		"device": devicescmd.Names, "json": command.OrFiles(), "compare": command.OrFiles(), "peers": command.OrFiles(),
		"results": command.OrFiles(), "trace": command.OrFiles(),
	},
	Run: command.AtOnce(func(p *command.Process) error {
		var c config
		if err := p.ParseFlags(flags(&c)); err != nil {
			return err
		}
		switch {
		case c.counts:
			return countAll(p.Stdout, c)
		case c.list:
			return list(p.Stdout, c)
		case c.results != "":
			return summarize(p.Stdout, c.results)
		}
		return run(p.Stdout, c)
	}),
}

func flags(c *config) *flag.FlagSet {
	fs := command.Flags("bench")
	fs.StringVar(&c.device, "device", "", "index or part of the name of a device; default: the best one")
	fs.StringVar(&c.run, "run", "", "measure only rows whose name and shape match this `regexp`, in capitals or not")
	fs.StringVar(&c.skip, "skip", "", "leave out rows whose name and shape match this `regexp`")
	fs.StringVar(&c.json, "json", "", "also write each row to this `file` once it is measured: a JSON object a line")
	fs.StringVar(&c.compare, "compare", "", "also print how many times as fast each row is as in this `file`, which -json wrote on the same device")
	fs.BoolVar(&c.anyDevice, "any-device", false, "let -compare compare with another device")
	fs.StringVar(&c.peers, "peers", "", "also print how many times as fast each row is as in PyTorch, of which this `file` is: see tools/bench/peers/pytorch.py")
	fs.BoolVar(&c.list, "list", false, "measure nothing: print the rows that would be, for peers/pytorch.py")
	fs.StringVar(&c.results, "results", "", "measure nothing: print a table of the files that -json wrote in this `folder`")
	fs.StringVar(&c.trace, "trace", "", "also write each dispatch of the training steps to this `file`, for ui.perfetto.dev")
	fs.IntVar(&c.mib, "size", 64, "`MiB` of the tensors that memory-bound kernels read")
	fs.DurationVar(&c.limit, "limit", 0, "begin no row after so much `time`; 0: measure all")
	fs.BoolVar(&c.quick, "quick", false, "small tensors and few runs: does it work, not how fast")
	fs.BoolVar(&c.counts, "counts", false, "measure nothing: print dispatches, barriers, bytes and FLOPs of the training steps")
	return fs
}

// config is what to measure, how large and how often.
type config struct {
	device, run, skip, json string
	compare, peers, trace   string
	results                 string
	anyDevice               bool
	mib                     int
	limit                   time.Duration // to begin rows in; 0: none
	quick                   bool
	counts, list            bool
	gpu                     bool // the device is one: sizes that take a processor minutes are measured too
}

// mostMiB keeps the bytes of a tensor, and of the few that a row has, countable.
const mostMiB = 1 << 30

// bytes is the size of the tensors that memory-bound kernels read.
func (c config) bytes() int {
	if c.quick {
		return 1 << 20
	}
	return c.mib << 20
}

// runs returns how often to time a step, and after how long to stop early.
func (c config) runs() (least, most int, limit time.Duration) {
	switch {
	case c.quick:
		return 3, 3, 0
	case c.gpu:
		return 7, 51, 150 * time.Millisecond
	}
	return 7, 51, 2 * time.Second
}

// filter returns whether a row is wanted, by its name and shape.
func (c config) filter() (func(row string) bool, error) {
	run, err := regexp.Compile("(?i)" + c.run)
	if err != nil {
		return nil, command.Mistaken(fmt.Errorf("bench: -run: %w", err))
	}
	skip, err := regexp.Compile("(?i)" + c.skip)
	if err != nil {
		return nil, command.Mistaken(fmt.Errorf("bench: -skip: %w", err))
	}
	return func(row string) bool { return run.MatchString(row) && (c.skip == "" || !skip.MatchString(row)) }, nil
}

func run(out io.Writer, c config) error {
	if c.mib < 1 || c.mib > mostMiB {
		return command.Mistaken(fmt.Errorf("bench: -size is %d, want 1 to %d MiB", c.mib, mostMiB))
	}
	if c.limit < 0 {
		return command.Mistaken(fmt.Errorf("bench: -limit is %v, want a time, or 0 for none", c.limit))
	}
	wanted, err := c.filter()
	if err != nil {
		return err
	}
	dev, err := vk.Open(&vk.Options{Device: c.device})
	if err != nil {
		return err
	}
	defer dev.Close()
	if dev.Info().Caps.TimestampPeriod == 0 {
		return fmt.Errorf("bench: %s has no time stamps", dev.Info().Name)
	}
	c.gpu = dev.Info().Kind != vk.CPU
	all, steps := chosen(c)
	if err := errors.Join(checkWanted(c, withCeilings(c, dev.Info(), all), steps, wanted), checkTraced(c, steps, wanted)); err != nil {
		return err
	}
	r, err := newReport(out, c, dev.Info())
	if err != nil {
		return err
	}
	return errors.Join(measureAll(dev, c, all, steps, wanted, r), r.close())
}

// chosen lists what is measured on the device: all, but on a processor without -run nothing that takes it long.
func chosen(c config) ([]benchmark, []model) {
	all, steps := cases(c), models(c)
	if !c.gpu && c.run == "" {
		all = slices.DeleteFunc(all, func(b benchmark) bool { return b.long })
		steps = slices.DeleteFunc(steps, func(m model) bool { return m.long })
	}
	return all, steps
}

// checkWanted returns an error that names rows near to -run where none is wanted.
func checkWanted(c config, kernels []benchmark, steps []model, wanted func(row string) bool) error {
	var rows []string
	for _, k := range kernels {
		for _, p := range k.parts {
			rows = append(rows, p.name+" "+k.shape)
		}
	}
	for _, m := range steps {
		rows = append(rows, m.name+" "+m.shape())
	}
	if slices.ContainsFunc(rows, wanted) {
		return nil
	}
	near := ""
	if found := nearest(c.run, rows); len(found) > 0 {
		near = fmt.Sprintf("; near to that are %q", found)
	}
	return fmt.Errorf("bench: no row is left by -run %q and -skip %q%s; -list prints all rows", c.run, c.skip, near)
}

// word is one in a regular expression or a row's name.
var word = regexp.MustCompile(`[a-z0-9]+`)

// nearest are the rows that have the most words of a regular expression in them, at most five and none without any.
func nearest(run string, rows []string) (found []string) {
	words := word.FindAllString(strings.ToLower(run), -1)
	most := 1
	for _, row := range rows {
		plain := strings.Join(word.FindAllString(strings.ToLower(row), -1), "")
		count := 0
		for _, w := range words {
			if strings.Contains(plain, w) {
				count++
			}
		}
		if count > most {
			most, found = count, nil
		}
		if count == most && len(found) < 5 {
			found = append(found, row)
		}
	}
	return found
}

// withCeilings is all and what the ceilings are measured by.
func withCeilings(c config, info vk.Info, all []benchmark) []benchmark {
	for _, k := range ceilingCases(c, info) {
		all = append(all, k.benchmark)
	}
	return all
}

// measureAll leaves what was wrong to the report and goes on. Its error is of what nothing can be measured without.
func measureAll(dev *vk.Device, c config, kernels []benchmark, steps []model, wanted func(row string) bool, r *report) error {
	start := time.Now()
	copies, err := openYardsticks(dev, c)
	if err != nil {
		return err
	}
	defer copies.close()
	if err := measureCeilings(dev, c, copies, wanted, r); err != nil {
		return err
	}
	for _, k := range kernels {
		if !slices.ContainsFunc(k.parts, func(p part) bool { return wanted(p.name + " " + k.shape) }) || r.late(start, c.limit) {
			continue
		}
		rows, err := measure(dev, k, copies, c)
		if errors.Is(err, vk.ErrDeviceLost) {
			return err
		}
		r.failOrSkip(k.parts[0].name, k.shape, err)
		for _, x := range rows {
			if wanted(x.Name + " " + x.Shape) {
				r.add(x)
			}
		}
	}
	for _, m := range steps {
		if !wanted(m.name+" "+m.shape()) || r.late(start, c.limit) {
			continue
		}
		x, err := m.measure(dev)
		if errors.Is(err, vk.ErrDeviceLost) {
			return err
		}
		r.failOrSkip(m.name, m.shape(), err)
		if err == nil {
			r.addStep(x)
		}
	}
	return nil
}

// measureCeilings measures what the other rows are held against.
func measureCeilings(dev *vk.Device, c config, copies *yardsticks, wanted func(row string) bool, r *report) error {
	found := ceilings.Ceilings{Matrix: map[string]float64{}}
	for _, k := range ceilingCases(c, dev.Info()) {
		rows, err := measure(dev, k.benchmark, copies, c)
		if errors.Is(err, vk.ErrDeviceLost) {
			return err
		}
		r.fail(err)
		for _, x := range rows {
			if wanted(x.Name + " " + x.Shape) {
				r.add(x)
			} else {
				r.line(x, "")
			}
			if k.take != nil && x.Wrong == "" {
				k.take(&found, x)
			}
		}
	}
	r.ceilings = found
	if !c.quick { // for training, which tells its share of them
		if err := found.Keep(dev); err != nil {
			fmt.Fprintf(r.out, "  not kept for train: %v\n", err)
		}
	}
	r.encode(struct {
		Ceilings ceilings.Ceilings `json:"ceilings"`
	}{found})
	return nil
}
