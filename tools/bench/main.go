// Bench measures the kernels of package shaders on one device, through the
// calls of ops and optim that training makes. Every result is checked against
// the host before it is timed. Times are the device's own, medians of several
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
//     go run ./tools/bench [-device name] [-run regexp] [-size MiB] [-quick] [-json]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

func main() {
	var c config
	device := flag.String("device", "", "index or part of the name of a device; default: the best one")
	pattern := flag.String("run", "", "measure only rows whose name and shape match this `regexp`")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.IntVar(&c.mib, "size", 64, "`MiB` of the tensors that memory-bound kernels read")
	flag.BoolVar(&c.quick, "quick", false, "small tensors and few runs: does it work, not how fast")
	flag.Parse()
	if err := run(*device, *pattern, *asJSON, c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// config is how large and how often to measure.
type config struct {
	mib   int
	quick bool
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

func run(device, pattern string, asJSON bool, c config) error {
	if c.mib < 1 {
		return fmt.Errorf("bench: -size is %d, want at least 1 MiB", c.mib)
	}
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("bench: -run: %w", err)
	}
	dev, err := vk.Open(&vk.Options{Device: device})
	if err != nil {
		return err
	}
	defer dev.Close()
	if dev.Info().Caps.TimestampPeriod == 0 {
		return fmt.Errorf("bench: %s has no time stamps", dev.Info().Name)
	}
	r := report{Device: dev.Info().Name, Driver: dev.Info().Driver, MiB: float64(c.bytes()) / (1 << 20)}
	out := io.Writer(os.Stdout)
	if asJSON {
		out = io.Discard
	}
	r.printHead(out)
	copies, err := openYardsticks(dev, c)
	if err != nil {
		return err
	}
	defer copies.close()
	for _, k := range append(cases(c), activationCases(c)...) {
		isYardstick := strings.HasSuffix(k.parts[0].name, "copy")
		if !isYardstick && !slices.ContainsFunc(k.parts, func(p part) bool { return wanted.MatchString(p.name + " " + k.shape) }) {
			continue
		}
		rows, err := measure(dev, k, copies, c)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if isYardstick || wanted.MatchString(row.Name+" "+row.Shape) {
				row.print(out)
				r.Rows = append(r.Rows, row)
			}
		}
	}
	trained := func(row *trainRow) {
		row.print(out)
		row.printKernels(out)
		r.Train = append(r.Train, row)
	}
	if wanted.MatchString("bigram train step") {
		row, err := trainStep(dev, c)
		if err != nil {
			return err
		}
		trained(row)
	}
	if wanted.MatchString("transformer train step") {
		if err := transformerSteps(dev, c, trained); err != nil {
			return err
		}
	}
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return nil
}

// opened is a benchmark that was compiled, run once and checked.
type opened struct {
	c    benchmark
	step *ops.Step
	run  *running
}

func open(dev *vk.Device, c benchmark) (*opened, error) {
	r := &running{dev: dev, ctx: context.Background(), graph: ops.NewGraph(dev)}
	c.build(r)
	step, err := r.graph.Compile()
	if err != nil || r.err != nil {
		r.release()
		return nil, fmt.Errorf("bench: %s %s: %w", c.parts[0].name, c.shape, firstError(r.err, err))
	}
	o := &opened{c, step, r}
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
		return fmt.Errorf("no check")
	}
	return o.run.check()
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
		rows[i] = row{Name: p.name, Shape: c.shape, Nanos: ns, Runs: len(nanos[i])}
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
