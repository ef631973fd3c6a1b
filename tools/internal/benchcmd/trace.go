package benchcmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
)

// trace writes the dispatches of steps in the Trace Event Format, which Perfetto (https://ui.perfetto.dev) and
// chrome://tracing show: each step is a process, each dispatch a slice.
type trace struct {
	file   string
	Events []traceEvent `json:"traceEvents"`
}

// traceEvent is a slice (phase X), or what a process is called (phase M).
type traceEvent struct {
	Name     string            `json:"name"`
	Category string            `json:"cat,omitempty"`
	Phase    string            `json:"ph"`
	Start    float64           `json:"ts"`  // microseconds
	Duration float64           `json:"dur"` // microseconds
	Process  int               `json:"pid"`
	Thread   int               `json:"tid"`
	Args     map[string]string `json:"args,omitempty"`
}

// checkTraced returns an error where there is nothing for the file of -trace.
func checkTraced(c config, steps []model, wanted func(row string) bool) error {
	if c.trace == "" || slices.ContainsFunc(steps, func(m model) bool { return wanted(m.name + " " + m.shape()) }) {
		return nil
	}
	return errors.New("bench: -trace: no training step is among the rows to measure")
}

// newTrace starts the file of -trace; nil without one.
func newTrace(file string) (*trace, error) {
	if file == "" {
		return nil, nil
	}
	t := &trace{file: file, Events: []traceEvent{}}
	return t, t.write()
}

// add appends a step. Its dispatches follow each other without a gap: the end of each is the start of the next.
func (t *trace) add(process string, times []ops.KernelTime) error {
	if t == nil {
		return nil
	}
	pid, at := 1, 0.0
	if n := len(t.Events); n > 0 {
		pid = t.Events[n-1].Process + 1
	}
	t.Events = append(t.Events, traceEvent{Name: "process_name", Phase: "M", Process: pid, Args: map[string]string{"name": process}})
	for _, k := range times {
		t.Events = append(t.Events, traceEvent{k.Kernel, k.Op, "X", at / 1e3, k.Nanos / 1e3, pid, 1, map[string]string{"op": k.Op}})
		at += k.Nanos
	}
	return t.write()
}

// write replaces the file, so that what stops the program leaves the steps until then.
func (t *trace) write() error {
	data, err := json.Marshal(t)
	if err == nil {
		err = os.WriteFile(t.file, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("-trace: %w", err)
	}
	return nil
}
