package benchcmd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/tools/internal/ceilings"
	"github.com/lemnos-ml/lemnos/vk"
)

// report prints each row as it is measured, to standard output and, as JSON, to a file: what stops the program leaves
// what was measured until then.
type report struct {
	out      io.Writer
	json     *json.Encoder // nil without a file
	file     *os.File
	before   *earlier // nil without -compare
	peers    *peers   // nil without -peers
	trace    *trace   // nil without -trace
	ceilings ceilings.Ceilings
	failed   []error // what was wrong, missing or not written
	left     int     // rows that -limit left no time for
}

// commit is what the bench was built from, where the linker was told with -X; bundles are.
var commit string

// head is the file's first line.
type head struct {
	Device  string  `json:"device"`
	Driver  string  `json:"driver"`
	Commit  string  `json:"commit,omitempty"`
	MiB     float64 `json:"mib"`               // size of the tensors that memory-bound kernels read
	Load    float64 `json:"load,omitempty"`    // threads that ran in the minute before, of others
	Library string  `json:"library,omitempty"` // of -peers, and its version
}

// row is one kernel, or a few that work together, at one shape.
type row struct {
	Name   string  `json:"name"`
	Shape  string  `json:"shape"`
	Nanos  float64 `json:"ns"`                 // GPU time, median
	GBs    float64 `json:"gb_per_s,omitempty"` // algorithmic bytes, in 10^9 per second
	GFLOPS float64 `json:"gflop_per_s,omitempty"`
	OfCopy float64 `json:"percent_of_copy,omitempty"`    // of the plain copy's GB/s, median over the runs
	OfBest float64 `json:"percent_of_best,omitempty"`    // of the fastest copy's
	OfPeak float64 `json:"percent_of_ceiling,omitempty"` // of the ceiling for its bytes or its FLOPs
	Runs   int     `json:"runs"`
	Peers  ratios  `json:"peers,omitempty"`
	Wrong  string  `json:"wrong,omitempty"` // how the result differs from the host's

	bytes, flops float64
	fastest      float64 // ns
	matrix       string  // type of the factors that it has on matrix cores
}

// ratios are how many times as fast as the ways of another library a row is, by their names.
type ratios = map[string]float64

// stepRow is a replayed training step of a model, or the pass of a token.
type stepRow struct {
	Name         string  `json:"name"`
	Shape        string  `json:"shape"`
	Model        string  `json:"model"`
	Nanos        float64 `json:"ns"`        // wall clock per step
	Host         float64 `json:"host_ns"`   // of these, what the processor takes to stage and submit a step
	Device       float64 `json:"device_ns"` // what all dispatches take, one after the other
	OfPeak       float64 `json:"percent_of_ceiling,omitempty"`
	Submissions  uint64  `json:"submissions"` // queue submissions per step
	Dispatches   int     `json:"dispatches"`
	Barriers     int     `json:"barriers"`
	TokensPerSec float64 `json:"tokens_per_s"`
	Peers        ratios  `json:"peers,omitempty"`
	Wrong        string  `json:"wrong,omitempty"`

	Kernels []kernelShare `json:"kernels,omitempty"` // of a profiled step, most time first

	times  []ops.KernelTime // of the same, in order
	counts []ops.OpCount    // what the step has to do
}

// least is how long the step takes where each operation is at the device's ceiling for its bytes or for its FLOPs, in nanoseconds.
func (x *stepRow) least(c *ceilings.Ceilings) (nanos float64) {
	matrix := map[string]string{}
	for _, t := range x.times {
		matrix[t.Op] = max(matrix[t.Op], matrixOf(t.Kernel))
	}
	return c.LeastOf(x.counts, func(op string) string { return matrix[op] })
}

// kernelShare is what all dispatches of a kernel take of a step.
type kernelShare struct {
	Kernel     string  `json:"kernel"`
	Dispatches int     `json:"dispatches"`
	Nanos      float64 `json:"ns"` // GPU time
}

const format = "%-28s %20s %10s %7s %9s %6s %6s %9s %8s %8s"

// newReport starts the table, and the file when one is asked for.
func newReport(out io.Writer, c config, dev vk.Info) (*report, error) {
	r, h := &report{out: out}, head{Device: dev.Name, Driver: dev.Driver, Commit: commit, MiB: float64(c.bytes()) / (1 << 20)}
	if dev.Kind == vk.CPU { // other threads take nothing from a GPU
		h.Load = loadAverage()
	}
	var err error
	if r.before, err = readEarlier(c.compare); err != nil {
		return nil, err
	}
	if err := r.before.checkDevice(h); err != nil && !c.anyDevice {
		return nil, err
	}
	if r.peers, err = readPeers(c.peers); err != nil {
		return nil, err
	}
	if r.peers != nil {
		h.Library = r.peers.Driver
	}
	if r.trace, err = newTrace(c.trace); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if c.json != "" {
		if r.file, err = os.Create(c.json); err != nil {
			return nil, fmt.Errorf("bench: -json: %w", err)
		}
		r.json = json.NewEncoder(r.file)
	}
	r.encode(h)
	fmt.Fprintf(r.out, "%s, %s\n", h.Device, h.Driver)
	if h.busy() {
		fmt.Fprintf(r.out, "%.0f threads of others ran in the minute before: the figures are of a busy machine\n", h.Load)
	}
	fmt.Fprintf(r.out, "tensors of %.4g MiB; GB/s of the bytes each kernel has to move; %% of the GB/s of the plain\nand of the fastest copy in the same run, and of the ceilings, which come first\n\n", h.MiB)
	heading, library := "", ""
	if r.peers != nil {
		library, _, _ = strings.Cut(r.peers.Driver, " ")
		fmt.Fprintf(r.out, "times as fast as the fastest way of %s on %s\n\n", r.peers.Driver, r.peers.Device)
	}
	if r.before != nil {
		fmt.Fprintf(r.out, "speed-up over %s: %s, %s\n\n", c.compare, r.before.Device, r.before.Driver)
		heading = "speed-up"
	}
	r.print("kernel", "shape", "time", "GB/s", "GFLOP/s", "% copy", "% best", "% ceiling", heading, library)
	return r, nil
}

func (r *report) encode(line any) {
	if r.json != nil {
		if err := r.json.Encode(line); err != nil {
			r.failed = append(r.failed, fmt.Errorf("-json: %w", err))
			r.json = nil
		}
	}
}

// close returns an error that has all that failed.
func (r *report) close() error {
	if r.file != nil {
		if err := r.file.Close(); err != nil {
			r.failed = append(r.failed, fmt.Errorf("-json: %w", err))
		}
	}
	if r.left > 0 {
		fmt.Fprintf(r.out, "\n-limit left no time for %d more\n", r.left)
	}
	for _, err := range []error{r.before.checkMet(), r.peers.checkMet()} {
		if err != nil {
			r.failed = append(r.failed, err)
		}
	}
	if len(r.failed) == 0 {
		return nil
	}
	return fmt.Errorf("bench: %d failed:\n%w", len(r.failed), errors.Join(r.failed...))
}

// late reports whether it is too late for a row, and counts those.
func (r *report) late(start time.Time, limit time.Duration) bool {
	late := limit > 0 && time.Since(start) > limit
	if late {
		r.left++
	}
	return late
}

// fail prints an error, if it is one, and keeps it for the end.
func (r *report) fail(err error) {
	if err != nil {
		fmt.Fprintf(r.out, "  FAILED: %v\n", err)
		r.failed = append(r.failed, err)
	}
}

// failOrSkip is fail, but that a device which has too little memory for a row, in all or in one piece, only goes without.
func (r *report) failOrSkip(name, shape string, err error) {
	if !errors.Is(err, vk.ErrOutOfMemory) {
		r.fail(err)
		return
	}
	fmt.Fprintf(r.out, "  skipped: %v\n", err)
	r.encode(struct {
		Name    string `json:"name"`
		Shape   string `json:"shape"`
		Skipped string `json:"skipped"`
	}{name, shape, err.Error()})
}

// print writes a line of the table.
func (r *report) print(columns ...any) {
	fmt.Fprintln(r.out, strings.TrimRight(fmt.Sprintf(format, columns...), " "))
}

func (r *report) add(x row) { r.line(x, r.before.speedUp(x.Name, x.Shape, x.Nanos)) }

// line adds a row that is compared already.
func (r *report) line(x row, speedUp string) {
	x.OfPeak = 100 * r.ceilings.Least(x.bytes, x.flops, x.matrix) / x.Nanos
	x.Peers = r.peers.ratios(x.Name, x.Shape, x.Nanos)
	least, ways := lowest(x.Peers)
	r.encode(x)
	r.print(x.Name, x.Shape, short(x.Nanos), number(x.GBs, 2), number(x.GFLOPS, 1), number(x.OfCopy, 0), number(x.OfBest, 0), number(x.OfPeak, 0), speedUp, least)
	if ways != "" {
		fmt.Fprintf(r.out, "    %s\n", ways)
	}
	r.checked(x.Name, x.Shape, x.Wrong)
}

func (r *report) addStep(x *stepRow) {
	x.OfPeak = 100 * x.least(&r.ceilings) / x.Nanos
	x.Peers = r.peers.ratios(x.Name, x.Shape, x.Nanos)
	r.encode(x)
	fmt.Fprintf(r.out, "\n%s %s, %s: %s, %.4g tokens/s, %s %% of the ceilings\n", x.Name, x.Shape, x.Model, short(x.Nanos), x.TokensPerSec, number(x.OfPeak, 0))
	fmt.Fprintf(r.out, "  %s on the processor, %s in %d dispatches; %d barriers, %d submissions\n", short(x.Host), short(x.Device), x.Dispatches, x.Barriers, x.Submissions)
	if s := r.before.speedUp(x.Name, x.Shape, x.Nanos); s != "" {
		fmt.Fprintf(r.out, "speed-up %s\n", s)
	}
	if least, ways := lowest(x.Peers); least != "" {
		fmt.Fprintf(r.out, "  as fast as %s: %s\n", r.peers.Driver, cmp.Or(ways, least))
	}
	r.fail(r.trace.add(x.Name+" "+x.Shape, x.times))
	r.checked(x.Name, x.Shape, x.Wrong)
	total := 0.0
	for _, s := range x.Kernels {
		total += s.Nanos
	}
	for _, s := range x.Kernels[:min(shown, len(x.Kernels))] {
		fmt.Fprintf(r.out, "%5.1f%% %11s  %s, %d dispatches\n", 100*s.Nanos/total, short(s.Nanos), s.Kernel, s.Dispatches)
	}
}

func (r *report) checked(name, shape, wrong string) {
	if wrong != "" {
		r.fail(fmt.Errorf("%s %s: %s", name, shape, wrong))
	}
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

// number leaves what was not measured empty.
func number(x float64, decimals int) string {
	if x == 0 {
		return ""
	}
	if x < 1 {
		decimals++
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
