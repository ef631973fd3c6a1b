package benchcmd

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// The trace has a process for each step, in it one slice per dispatch, and the slices follow each other.
func TestTrace(t *testing.T) {
	dev := vktest.Open(t)
	c := config{quick: true, mib: 1, trace: filepath.Join(t.TempDir(), "trace.json")}
	r, err := newReport(io.Discard, c, dev.Info())
	if err != nil {
		t.Fatal(err)
	}
	var dispatches []int
	for _, m := range models(c) {
		x, err := m.measure(dev)
		if err != nil {
			t.Fatal(err)
		}
		r.addStep(x)
		dispatches = append(dispatches, len(x.times))
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(c.trace)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []struct {
			Name, Cat, Ph string
			TS, Dur       float64
			PID, TID      int
			Args          map[string]string
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var slices []int
	var processes []string
	end := 0.0
	for _, e := range file.TraceEvents {
		switch e.Ph {
		case "M":
			slices, processes, end = append(slices, 0), append(processes, e.Args["name"]), 0
		case "X":
			slices[e.PID-1]++
			if e.Name == "" || e.Args["op"] == "" || e.TID != 1 || e.PID != len(processes) || e.Dur < 0 || math.Abs(e.TS-end) > 1e-6*max(1, end) {
				t.Errorf("slice %+v, the one before ends at %g", e, end)
			}
			end = e.TS + e.Dur
		default:
			t.Errorf("event %+v", e)
		}
	}
	if got, want := strings.Join(processes, ", "), "bigram train step [4 32], shakespeare-char train step [2 64], tiny decode [1 64]"; got != want {
		t.Errorf("processes %s, want %s", got, want)
	}
	for i, n := range dispatches {
		if slices[i] != n || n < 5 {
			t.Errorf("%d slices of %d dispatches", slices[i], n)
		}
	}
}

// Times become microseconds from the start of each step.
func TestTraceEvents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.json")
	tr, err := newTrace(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range []string{"one", "two"} {
		if err := tr.add(process, []ops.KernelTime{{Op: "linear", Kernel: "matmul_nt.f32", Nanos: 1500}, {Op: "add", Kernel: "add.f32", Nanos: 250}}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"traceEvents":[` +
		`{"name":"process_name","ph":"M","ts":0,"dur":0,"pid":1,"tid":0,"args":{"name":"one"}},` +
		`{"name":"matmul_nt.f32","cat":"linear","ph":"X","ts":0,"dur":1.5,"pid":1,"tid":1,"args":{"op":"linear"}},` +
		`{"name":"add.f32","cat":"add","ph":"X","ts":1.5,"dur":0.25,"pid":1,"tid":1,"args":{"op":"add"}},` +
		`{"name":"process_name","ph":"M","ts":0,"dur":0,"pid":2,"tid":0,"args":{"name":"two"}},` +
		`{"name":"matmul_nt.f32","cat":"linear","ph":"X","ts":0,"dur":1.5,"pid":2,"tid":1,"args":{"op":"linear"}},` +
		`{"name":"add.f32","cat":"add","ph":"X","ts":1.5,"dur":0.25,"pid":2,"tid":1,"args":{"op":"add"}}]}` + "\n"
	if string(data) != want {
		t.Errorf("the file is\n%s\nwant\n%s", data, want)
	}
	if _, err := newTrace(filepath.Join(file, "below a file")); err == nil {
		t.Error("a file that can't be written: no error")
	}
}

// A trace without a step is refused before anything is measured.
func TestNothingToTrace(t *testing.T) {
	steps := models(config{quick: true})
	for run, traced := range map[string]bool{"": true, "bigram": true, "^add": false} {
		c := config{run: run, trace: "trace.json"}
		wanted, err := c.filter()
		if err != nil {
			t.Fatal(err)
		}
		if err := checkTraced(c, steps, wanted); traced != (err == nil) {
			t.Errorf("-run %q: %v", run, err)
		}
	}
	if err := checkTraced(config{run: "^add"}, nil, nil); err != nil {
		t.Errorf("without -trace: %v", err)
	}
}
