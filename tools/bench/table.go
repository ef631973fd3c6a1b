package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
)

// report is what bench prints.
type report struct {
	Device string      `json:"device"`
	Driver string      `json:"driver"`
	MiB    float64     `json:"mib"` // size of the tensors that memory-bound kernels read
	Rows   []row       `json:"kernels"`
	Train  []*trainRow `json:"train,omitempty"`
}

// row is one kernel, or a few that work together, at one shape.
type row struct {
	Name   string  `json:"name"`
	Shape  string  `json:"shape"`
	Nanos  float64 `json:"ns"`                 // GPU time, median
	GBs    float64 `json:"gb_per_s,omitempty"` // algorithmic bytes, in 10^9 per second
	OfCopy float64 `json:"percent_of_copy"`    // of the plain copy's GB/s, median over the runs
	OfBest float64 `json:"percent_of_best"`    // of the fastest copy's
	GFLOPS float64 `json:"gflop_per_s,omitempty"`
	Runs   int     `json:"runs"`
}

// trainRow is a replayed training step of a model.
type trainRow struct {
	Model        string  `json:"model"`
	Shape        string  `json:"shape"`
	Submissions  uint64  `json:"submissions"` // queue submissions per step
	Dispatches   int     `json:"dispatches"`
	Barriers     int     `json:"barriers"`
	Nanos        float64 `json:"ns"` // wall clock per step, mean
	TokensPerSec float64 `json:"tokens_per_s"`

	Kernels []kernelShare `json:"kernels,omitempty"` // of a profiled step, most time first
}

// kernelShare is what all dispatches of a kernel take of a step.
type kernelShare struct {
	Kernel     string  `json:"kernel"`
	Dispatches int     `json:"dispatches"`
	Nanos      float64 `json:"ns"` // GPU time
}

const format = "%-20s %20s %11s %7s %9s %9s %8s %5s\n"

// printHead starts the table; rows follow as they are measured.
func (r report) printHead(w io.Writer) {
	fmt.Fprintf(w, "%s, %s\n", r.Device, r.Driver)
	fmt.Fprintf(w, "tensors of %.4g MiB; GB/s of the bytes each kernel has to move;\n%% of the GB/s of the plain and of the fastest copy in the same run\n\n", r.MiB)
	fmt.Fprintf(w, format, "kernel", "shape", "time", "GB/s", "% of copy", "% of best", "GFLOP/s", "runs")
}

func (x row) print(w io.Writer) {
	fmt.Fprintf(w, format, x.Name, x.Shape, short(x.Nanos), number(x.GBs, 2), number(x.OfCopy, 0), number(x.OfBest, 0), number(x.GFLOPS, 1), fmt.Sprint(x.Runs))
}

func (x trainRow) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s training step, %s: %s, %.4g tokens/s, %d submission, %d dispatches, %d barriers\n",
		x.Model, x.Shape, short(x.Nanos), x.TokensPerSec, x.Submissions, x.Dispatches, x.Barriers)
}

// shares adds up the dispatches of each kernel.
func shares(times []ops.KernelTime) []kernelShare {
	sums := map[string]*kernelShare{}
	for _, t := range times {
		if sums[t.Kernel] == nil {
			sums[t.Kernel] = &kernelShare{Kernel: t.Kernel}
		}
		sums[t.Kernel].Dispatches++
		sums[t.Kernel].Nanos += t.Nanos
	}
	var list []kernelShare
	for _, s := range sums {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b kernelShare) int {
		return cmp.Or(cmp.Compare(b.Nanos, a.Nanos), cmp.Compare(a.Kernel, b.Kernel))
	})
	return list
}

// shown is how many kernels of a step the table lists.
const shown = 12

func (x trainRow) printKernels(w io.Writer) {
	total := 0.0
	for _, s := range x.Kernels {
		total += s.Nanos
	}
	for _, s := range x.Kernels[:min(shown, len(x.Kernels))] {
		fmt.Fprintf(w, "%5.1f%% %11s  %s, %d dispatches\n", 100*s.Nanos/total, short(s.Nanos), s.Kernel, s.Dispatches)
	}
}

// number leaves what was not measured empty.
func number(x float64, decimals int) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

func short(nanos float64) string {
	d := time.Duration(nanos)
	switch {
	case d > time.Second:
		return d.Round(time.Millisecond).String()
	case d > time.Millisecond:
		return d.Round(time.Microsecond).String()
	}
	return d.Round(10 * time.Nanosecond).String()
}
