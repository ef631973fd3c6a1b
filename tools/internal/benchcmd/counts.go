package benchcmd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// countAll prints what the training steps have to do, the largest first. A step that the device has no room for is reported;
// the others follow.
func countAll(out io.Writer, c config) error {
	wanted, err := c.filter()
	if err != nil {
		return err
	}
	dev, err := vk.Open(&vk.Options{Device: c.device, CompileOnly: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	c.gpu = true // of any size: nothing runs
	var failed error
	list := slices.DeleteFunc(models(c), func(m model) bool { return m.steps > 0 })
	if err := checkWanted(c, nil, list, wanted); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, %s\n", dev.Info().Name, dev.Info().Driver)
	slices.SortStableFunc(list, func(a, b model) int { return cmp.Compare(b.work(), a.work()) })
	for _, m := range list {
		if !wanted(m.name + " " + m.shape()) {
			continue
		}
		counts, err := m.counts(dev)
		if err != nil {
			fmt.Fprintf(out, "\n%s %s: FAILED: %v\n", m.name, m.shape(), err)
			failed = errors.Join(failed, fmt.Errorf("bench: %s: %w", m.name, err))
			continue
		}
		fmt.Fprintf(out, "\n%s %s, %s\n", m.name, m.shape(), m.structure())
		printCounts(out, counts)
	}
	return failed
}

// work is about how much a step has to do: tokens by parameters.
func (m model) work() int64 {
	if m.decodes {
		return m.cfg.Parameters()
	}
	return int64(m.batch*m.cfg.Context) * m.cfg.Parameters()
}

// counts compiles a training step, or the pass of a token, on a device that may be open for compiling only.
func (m model) counts(dev *vk.Device) ([]ops.OpCount, error) {
	t, err := nn.ReserveTransformer(dev, m.dtype, m.cfg)
	if err != nil {
		return nil, err
	}
	defer t.Params().Release()
	if m.decodes {
		d, err := t.NewDecoder(m.cfg.Context)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.Step().Counts(), nil
	}
	step, err := m.compile(dev, t, true)
	if err != nil {
		return nil, err
	}
	defer step.release()
	return step.Counts(), nil
}

// total adds up what a step does.
func total(counts []ops.OpCount) ops.OpCount {
	sum := ops.OpCount{Op: "all"}
	for _, n := range counts {
		sum.Times += n.Times
		sum.Dispatches += n.Dispatches
		sum.Barriers += n.Barriers
		sum.Bytes += n.Bytes
		sum.Least += n.Least
		sum.FLOPs += n.FLOPs
	}
	return sum
}

// printCounts tells dispatches and bytes also as multiples of the least possible: one dispatch for each operation of the graph, and
// each byte that an operation shares with others once.
func printCounts(w io.Writer, counts []ops.OpCount) {
	const format = "%-32s %10s %8s %10s %10s %8s %10s\n"
	fmt.Fprintf(w, format, "operation", "dispatches", "of least", "barriers", "MB", "of least", "GFLOP")
	for _, n := range append(counts, total(counts)) {
		fmt.Fprintf(w, format, n.Op, fmt.Sprint(n.Dispatches), times(float64(n.Dispatches), float64(n.Times)), fmt.Sprint(n.Barriers),
			fmt.Sprintf("%.1f", float64(n.Bytes)/1e6), times(float64(n.Bytes), float64(n.Least)), number(float64(n.FLOPs)/1e9, 1))
	}
}

func times(n, least float64) string {
	if least == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fx", n/least)
}
