// Bench measures the kernels of package shaders on one device, through the
// calls of ops and optim that training makes. Every result is checked against
// the host before it is timed; one that differs is marked, and makes bench fail
// at its end. Times are the device's own, medians of several
// runs.
//
// Each run is paired with two copies by shaders, the yardsticks for what the
// memory allows, which every table begins with:
//
//   - copy, for "% of copy": the copy that comes to mind first, y[i] = x[i] with
//     16 bytes for each invocation in workgroups of 256;
//
//   - fastest copy, for "% of best": the fastest that was found for the device,
//     with its own workgroups, several groups of 16 bytes for each invocation
//     and, on lavapipe, words of 64 bits.
//
//     go run ./tools/bench [-device name] [-run regexp] [-skip regexp] [-size MiB] [-quick] [-json file]
//
// With -counts it measures nothing: it plans the training steps and prints what each has to do, by operation. No hardware
// is needed for that where the driver can do without, as Mesa's can:
//
//	RADV_FORCE_FAMILY=navi21 VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/radeon_icd.x86_64.json go run ./tools/bench -counts
package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

func main() {
	command.Main("bench", command.AtOnce(func(args []string) error {
		c, err := parse(args)
		if err != nil {
			return err
		}
		if c.counts {
			return countAll(c)
		}
		return run(c)
	}))
}

func parse(args []string) (c config, err error) {
	fs := command.Flags("bench", "bench [flags]")
	fs.StringVar(&c.device, "device", "", "index or part of the name of a device; default: the best one")
	fs.StringVar(&c.run, "run", "", "measure only rows whose name and shape match this `regexp`")
	fs.StringVar(&c.skip, "skip", "", "leave out rows whose name and shape match this `regexp`")
	fs.StringVar(&c.json, "json", "", "also write each row to this `file` once it is measured: a JSON object a line")
	fs.StringVar(&c.compare, "compare", "", "also print how many times as fast each row is as in this `file`, which -json wrote on the same device")
	fs.BoolVar(&c.anyDevice, "any-device", false, "let -compare compare with another device")
	fs.StringVar(&c.trace, "trace", "", "also write each dispatch of the training steps to this `file`, for ui.perfetto.dev")
	fs.IntVar(&c.mib, "size", 64, "`MiB` of the tensors that memory-bound kernels read")
	fs.BoolVar(&c.quick, "quick", false, "small tensors and few runs: does it work, not how fast")
	fs.BoolVar(&c.counts, "counts", false, "measure nothing: print dispatches, barriers, bytes and FLOPs of the training steps")
	return c, command.NoOperands(fs, args)
}

// config is what to measure, how large and how often.
type config struct {
	device, run, skip, json string
	compare, trace          string
	anyDevice               bool
	mib                     int
	quick                   bool
	counts                  bool
	gpu                     bool // the device is one: sizes that take a processor minutes are measured too
}

// bytes is the size of the tensors that memory-bound kernels read.
func (c config) bytes() int {
	if c.quick {
		return 1 << 20
	}
	return c.mib << 20
}

// runs returns how often to time a step, and after how long to stop early.
func (c config) runs() (least, most int, limit time.Duration) {
	if c.quick {
		return 3, 3, 0
	}
	return 7, 51, 2 * time.Second
}

// filter returns whether a row is wanted, by its name and shape.
func (c config) filter() (func(row string) bool, error) {
	run, err := regexp.Compile(c.run)
	if err != nil {
		return nil, fmt.Errorf("bench: -run: %w", err)
	}
	skip, err := regexp.Compile(c.skip)
	if err != nil {
		return nil, fmt.Errorf("bench: -skip: %w", err)
	}
	return func(row string) bool { return run.MatchString(row) && (c.skip == "" || !skip.MatchString(row)) }, nil
}

func run(c config) error {
	if c.mib < 1 {
		return fmt.Errorf("bench: -size is %d, want at least 1 MiB", c.mib)
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
	all, steps := append(cases(c), activationCases(c)...), models(c)
	if err := errors.Join(checkWanted(c, all, steps, wanted), checkTraced(c, steps, wanted)); err != nil {
		return err
	}
	r, err := newReport(c, dev.Info())
	if err != nil {
		return err
	}
	return errors.Join(measureAll(dev, c, all, steps, wanted, r), r.close())
}

// checkWanted returns an error that names the rows where none is wanted.
func checkWanted(c config, kernels []benchmark, steps []model, wanted func(row string) bool) error {
	names, any := []string{}, false
	add := func(name, shape string) {
		names = append(names, name)
		any = any || wanted(name+" "+shape)
	}
	for _, k := range kernels {
		for _, p := range k.parts {
			add(p.name, k.shape)
		}
	}
	for _, m := range steps {
		add(m.name, m.shape())
	}
	if any {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("bench: -run %q and -skip %q leave nothing to measure; the rows are %s, each with its shapes", c.run, c.skip, strings.Join(slices.Compact(names), ", "))
}

// measureAll leaves what was wrong to the report and goes on. Its error is of what nothing can be measured without.
func measureAll(dev *vk.Device, c config, kernels []benchmark, steps []model, wanted func(row string) bool, r *report) error {
	copies, err := openYardsticks(dev, c)
	if err != nil {
		return err
	}
	defer copies.close()
	for _, k := range kernels {
		isYardstick := strings.HasSuffix(k.parts[0].name, "copy")
		if !isYardstick && !slices.ContainsFunc(k.parts, func(p part) bool { return wanted(p.name + " " + k.shape) }) {
			continue
		}
		rows, err := measure(dev, k, copies, c)
		if errors.Is(err, vk.ErrDeviceLost) {
			return err
		}
		r.fail(err)
		for _, x := range rows {
			if isYardstick || wanted(x.Name+" "+x.Shape) {
				r.add(x)
			}
		}
	}
	for _, m := range steps {
		if !wanted(m.name + " " + m.shape()) {
			continue
		}
		x, err := m.measure(dev)
		if errors.Is(err, vk.ErrDeviceLost) {
			return err
		}
		r.fail(err)
		if err == nil {
			r.addStep(x)
		}
	}
	return nil
}

// opened is a benchmark that was compiled, run once and checked.
type opened struct {
	c     benchmark
	step  *ops.Step
	run   *running
	wrong string // how its result differs from the host's
}

func open(dev *vk.Device, c benchmark) (*opened, error) {
	r := &running{dev: dev, ctx: context.Background(), graph: ops.NewGraph(dev)}
	c.build(r)
	step, err := r.graph.Compile()
	if err != nil || r.err != nil {
		r.release()
		return nil, fmt.Errorf("bench: %s %s: %w", c.parts[0].name, c.shape, firstError(r.err, err))
	}
	o := &opened{c: c, step: step, run: r}
	if err := o.check(); err != nil {
		o.close()
		return nil, fmt.Errorf("bench: %s %s: %w", c.parts[0].name, c.shape, err)
	}
	return o, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// check runs the step once and compares what it left with the host's values.
func (o *opened) check() error {
	if err := o.stage(); err != nil {
		return err
	}
	if err := o.step.Run(); err != nil {
		return err
	}
	if err := o.step.Wait(o.run.ctx); err != nil {
		return err
	}
	if o.run.check == nil {
		return errors.New("no check")
	}
	if err := o.run.check(); err != nil {
		o.wrong = err.Error()
	}
	return nil
}

func (o *opened) stage() error {
	if o.run.stage == nil {
		return nil
	}
	return o.run.stage(o.step)
}

// profile runs the step once and returns the nanoseconds of each part.
func (o *opened) profile() ([]float64, error) {
	if err := o.stage(); err != nil {
		return nil, err
	}
	times, err := o.step.Profile(o.run.ctx)
	if err != nil {
		return nil, err
	}
	sums := make([]float64, len(o.c.parts))
	for i, p := range o.c.parts {
		for _, t := range times {
			if p.covers(t.Kernel) {
				sums[i] += t.Nanos
			}
		}
	}
	return sums, nil
}

func (o *opened) close() {
	o.step.Close()
	o.run.release()
}

// yardsticks are the copies that the other kernels are measured by.
type yardsticks struct{ plain, fastest *opened }

func openYardsticks(dev *vk.Device, c config) (y yardsticks, err error) {
	if y.plain, err = open(dev, plainCopy(c.bytes())); err != nil {
		return y, err
	}
	if y.fastest, err = open(dev, fastestCopy(c.bytes())); err != nil {
		y.plain.close()
	}
	return y, err
}

func (y yardsticks) close() {
	y.plain.close()
	y.fastest.close()
}

// profile runs both copies once and returns their bytes per nanosecond.
func (y yardsticks) profile() (plain, fastest float64, err error) {
	speed := func(o *opened) float64 {
		nanos, e := o.profile()
		if e != nil {
			err = e
			return 0
		}
		return o.c.parts[0].bytes / nanos[0]
	}
	return speed(y.plain), speed(y.fastest), err
}

// measure times the parts of a benchmark, each run next to one of each copy: what
// else the machine does then slows them all.
func measure(dev *vk.Device, c benchmark, copies yardsticks, cfg config) ([]row, error) {
	o, err := open(dev, c)
	if err != nil {
		return nil, err
	}
	defer o.close()
	least, most, limit := cfg.runs()
	nanos, ofPlain, ofFastest := make([][]float64, len(c.parts)), make([][]float64, len(c.parts)), make([][]float64, len(c.parts))
	for start, n := time.Now(), 0; n < least || n < most && time.Since(start) < limit; n++ {
		plain, fastest, err := copies.profile()
		if err != nil {
			return nil, err
		}
		times, err := o.profile()
		if err != nil {
			return nil, fmt.Errorf("bench: %s %s: %w", c.parts[0].name, c.shape, err)
		}
		for i, t := range times {
			nanos[i] = append(nanos[i], t)
			ofPlain[i] = append(ofPlain[i], c.parts[i].bytes/t/plain)
			ofFastest[i] = append(ofFastest[i], c.parts[i].bytes/t/fastest)
		}
	}
	rows := make([]row, len(c.parts))
	for i, p := range c.parts {
		ns := median(nanos[i])
		rows[i] = row{Name: p.name, Shape: c.shape, Nanos: ns, Runs: len(nanos[i]), Wrong: o.wrong}
		if p.flops > 0 {
			rows[i].GFLOPS = p.flops / ns
		} else {
			rows[i].GBs, rows[i].OfCopy, rows[i].OfBest = p.bytes/ns, 100*median(ofPlain[i]), 100*median(ofFastest[i])
		}
	}
	return rows, nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
