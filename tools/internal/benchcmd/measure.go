package benchcmd

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// opened is a benchmark that was compiled, run once and checked.
type opened struct {
	c     benchmark
	step  *ops.Step
	run   *running
	wrong string // how its result differs from the host's

	matrix []string // for each part, the type of the factors that it has on matrix cores; set by profile
}

func open(dev *vk.Device, c benchmark) (*opened, error) {
	if err := enough(dev.Info(), c.memory); err != nil {
		return nil, err
	}
	r := newRunning(dev)
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

// enough refuses what takes more than three quarters of the memory: a processor has other uses for the rest, and would begin to
// swap where a GPU reports an error.
func enough(info vk.Info, bytes float64) error {
	if bytes <= 0.75*float64(info.Memory) {
		return nil
	}
	return fmt.Errorf("%.3g GB are needed: %w: %s has %.3g GB in all", bytes/1e9, vk.ErrOutOfMemory, info.Name, float64(info.Memory)/1e9)
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
	o.matrix = make([]string, len(o.c.parts))
	for i, p := range o.c.parts {
		for _, t := range times {
			if p.covers(t.Kernel) {
				sums[i] += t.Nanos
				o.matrix[i] = max(o.matrix[i], matrixOf(t.Kernel))
			}
		}
	}
	return sums, nil
}

func (o *opened) close() {
	o.step.Close()
	o.run.release()
}

// yardsticks are the copies that the other kernels are measured by, and on a GPU what warms it up.
type yardsticks struct {
	plain, fastest *opened
	fma            *opened // nil on a processor
	pace           float64 // ns of fma on a device that is warm; 0: not known yet
}

func openYardsticks(dev *vk.Device, c config) (*yardsticks, error) {
	y := &yardsticks{}
	for _, k := range []struct {
		to     **opened
		c      benchmark
		needed bool
	}{{&y.plain, plainCopy(c.bytes()), true}, {&y.fastest, fastestCopy(c.bytes()), true}, {&y.fma, fmaCase(c), c.gpu && !c.quick}} {
		if !k.needed {
			continue
		}
		o, err := open(dev, k.c)
		if err != nil {
			y.close()
			return nil, err
		}
		*k.to = o
	}
	return y, nil
}

func (y *yardsticks) close() {
	for _, o := range []*opened{y.plain, y.fastest, y.fma} {
		if o != nil {
			o.close()
		}
	}
}

// A GPU that had nothing to do needs work to reach its clock again, which rises in steps: an H200 took half a second, at half of its
// rate at first. steady is for how long the rate must stay.
const steady, warmUpLimit = 300 * time.Millisecond, 2 * time.Second

// warmUp multiplies and adds until the device is as fast as it was, or no longer gets faster.
func (y *yardsticks) warmUp() error {
	if y.fma == nil {
		return nil
	}
	least := math.Inf(1)
	for start, rose := time.Now(), time.Now(); time.Since(rose) < steady && time.Since(start) < warmUpLimit; {
		took, err := y.fma.profile()
		if err != nil {
			return err
		}
		if took[0] < 0.98*least {
			rose = time.Now()
		}
		if least = min(least, took[0]); least < 1.03*y.pace {
			y.pace = min(y.pace, least)
			return nil
		}
	}
	y.pace = least
	return nil
}

// profile runs both copies once and returns their bytes per nanosecond.
func (y *yardsticks) profile() (plain, fastest float64, err error) {
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

// patience is after how long a row of few runs will do.
const patience = 20 * time.Second

// measure times the parts of a benchmark, each run of those that memory bounds next to one of each copy: what else the machine does
// then slows them all.
func measure(dev *vk.Device, c benchmark, copies *yardsticks, cfg config) ([]row, error) {
	o, err := open(dev, c)
	if err != nil {
		return nil, err
	}
	defer o.close()
	if err := copies.warmUp(); err != nil {
		return nil, err
	}
	least, most, limit := cfg.runs()
	nanos, ofPlain, ofFastest := make([][]float64, len(c.parts)), make([][]float64, len(c.parts)), make([][]float64, len(c.parts))
	for start, n := time.Now(), 0; n == 0 || n < least && time.Since(start) < patience || n < most && time.Since(start) < limit; n++ {
		plain, fastest := 0.0, 0.0
		if c.parts[0].bytes > 0 {
			if plain, fastest, err = copies.profile(); err != nil {
				return nil, err
			}
		}
		times, err := o.profile()
		if err != nil {
			return nil, fmt.Errorf("bench: %s %s: %w", c.parts[0].name, c.shape, err)
		}
		for i, t := range times {
			nanos[i] = append(nanos[i], t)
			if plain > 0 {
				ofPlain[i] = append(ofPlain[i], c.parts[i].bytes/t/plain)
				ofFastest[i] = append(ofFastest[i], c.parts[i].bytes/t/fastest)
			}
		}
	}
	rows := make([]row, len(c.parts))
	for i, p := range c.parts {
		ns := median(nanos[i])
		rows[i] = row{Name: p.name, Shape: c.shape, Nanos: ns, Runs: len(nanos[i]), Wrong: o.wrong, bytes: p.bytes, flops: p.flops, fastest: slices.Min(nanos[i]), matrix: o.matrix[i]}
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
