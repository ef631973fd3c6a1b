package train_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
)

// What takes long is told from its start to its end, steps are counted, also of a run
// that goes on, and what no hook hears is logged.
func TestHooksAreTold(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TotalSteps, c.LogEvery, c.EvalEvery, c.CkptEvery = 6, 2, 3, 3
	var steps []int64
	var ended []string
	var counts []ops.OpCount
	open := map[string]train.Phase{}
	h := train.Hooks{
		Counts: func(step []ops.OpCount) { counts = step },
		Step:   func(step int64) { steps = append(steps, step) },
		Phase: func(p train.Phase) {
			last, is := open[p.Name]
			if is && (p.Done < last.Done || last.Total > 0 && p.Total != last.Total) || p.Total > 0 && p.Done > p.Total || !is && p.Done != 0 {
				t.Errorf("%+v is told after %+v", p, last)
			}
			if open[p.Name] = p; p.Done == p.Total && p.Done > 0 {
				ended = append(ended, p.Name)
				delete(open, p.Name)
			}
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	h.Progress = func(r train.Record) {
		if r.Step == 4 {
			stop()
		}
	}
	if err := runHooked(ctx, dev, c, h); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
	if want := []int64{1, 2, 3, 4}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	slices.Sort(ended[2:]) // a save ends when it likes
	if want := []string{"compiling kernels", "counting tokens", "evaluating", "evaluating", "first step", "saving", "saving"}; !slices.Equal(ended, want) {
		t.Errorf("phases %q, want %q", ended, want)
	}
	var moved, dispatches int
	for _, n := range counts {
		moved, dispatches = moved+int(n.Bytes), dispatches+n.Dispatches
	}
	if moved == 0 || dispatches == 0 {
		t.Errorf("a step is %+v", counts)
	}
	steps, ended, h.Progress = nil, nil, nil
	var log bytes.Buffer
	h.Logger = slog.New(slog.NewTextHandler(&log, nil))
	must(t, runHooked(t.Context(), dev, c, h))
	if want := []int64{5, 6}; !slices.Equal(steps, want) || len(open) > 0 {
		t.Errorf("steps %v, want %v; phases without an end: %v", steps, want, open)
	}
	if want := []string{"compiling kernels", "counting tokens", "restoring", "first step", "evaluating", "saving"}; !slices.Equal(ended, want) {
		t.Errorf("phases %q, want %q", ended, want)
	}
	if text := log.String(); strings.Count(text, "msg=step ") != 1 || !strings.Contains(text, "msg=resuming ") || strings.Contains(text, "evaluating") {
		t.Errorf("the log is\n%s", text)
	}
}

// The library writes nothing on its own, neither to the standard error nor to the default log.
func TestSilentByDefault(t *testing.T) {
	dev := vktest.Open(t)
	var log bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	r, w, err := os.Pipe()
	must(t, err)
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	c := smallRun(t, t.TempDir())
	c.TotalSteps = 2
	err = runHooked(t.Context(), dev, c, train.Hooks{})
	os.Stdout, os.Stderr = stdout, stderr
	must(t, errors.Join(err, w.Close()))
	text, err := io.ReadAll(r)
	must(t, err)
	if log.Len() > 0 || len(text) > 0 {
		t.Errorf("it logs %q and writes %q", &log, text)
	}
}
