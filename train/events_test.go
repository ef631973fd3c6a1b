package train_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/eventtest"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// wantCurves compares the scalars of events with the metrics of a run.
func wantCurves(t *testing.T, c train.Config, events []eventtest.Event) {
	t.Helper()
	records, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
	must(t, err)
	for tag, of := range map[string]func(train.Record) *float64{
		"loss/train":      func(r train.Record) *float64 { return r.Loss },
		"loss/validation": func(r train.Record) *float64 { return r.ValLoss },
		"learning_rate":   func(r train.Record) *float64 { return r.LR },
		"grad_norm":       func(r train.Record) *float64 { return r.GradNorm },
		"tokens_per_s":    func(r train.Record) *float64 { return r.TokensPerS },
		"skipped": func(r train.Record) *float64 {
			if r.Loss == nil {
				return nil
			}
			return new(float64(r.Skipped))
		},
	} {
		var want []string
		for _, r := range records {
			if v := of(r); v != nil {
				want = append(want, fmt.Sprintf("%d=%v", r.Step, float32(*v)))
			}
		}
		if got := eventtest.Scalars(events, tag); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
}

// histogramsOf returns the histograms of a tag by their steps.
func histogramsOf(events []eventtest.Event, tag string) map[int64]eventtest.Histogram {
	all := map[int64]eventtest.Histogram{}
	for _, e := range events {
		for _, v := range e.Values {
			if v.Tag == tag && v.Histogram != nil {
				all[e.Step] = *v.Histogram
			}
		}
	}
	return all
}

// Events of a run are its metrics, its configuration, and at each evaluation histograms
// of what a checkpoint holds and of gradients that have the norm of the step. The run has the
// bits of one without them.
func TestRunWritesEvents(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		half  string // "": f32
		accum int
	}{{"", 1}, {"", 3}, {"bf16", 1}, {"bf16", 3}, {"f16", 1}, {"f16", 3}} {
		t.Run(fmt.Sprint(c.half, c.accum), func(t *testing.T) {
			cfg := smallRun(t, t.TempDir())
			cfg.MixedPrecision, cfg.HalfType, cfg.GradAccum = c.half != "", max(c.half, "bf16"), c.accum
			must(t, runHooked(ctx, dev, cfg, train.Hooks{}))
			plain := state(t, cfg)
			if names, _ := filepath.Glob(filepath.Join(cfg.Dir(), "*tfevents*")); len(names) > 0 {
				t.Errorf("a run that was not asked wrote %q", names)
			}
			cfg.RunName, cfg.TensorBoard = "with", true
			must(t, runHooked(ctx, dev, cfg, train.Hooks{}))
			if !maps.Equal(state(t, cfg), plain) {
				t.Error("a run with events has other bits")
			}
			events := eventtest.Run(t, cfg.Dir())
			wantCurves(t, cfg, events)
			checkHistograms(t, cfg, events)
		})
	}
}

func checkHistograms(t *testing.T, cfg train.Config, events []eventtest.Event) {
	t.Helper()
	parameters, gradients := histogramsOf(events, "parameters/bigram.table"), histogramsOf(events, "gradients/bigram.table")
	if got := slices.Sorted(maps.Keys(parameters)); !slices.Equal(got, []int64{0, 20, 40}) {
		t.Errorf("histograms of parameters after steps %v", got)
	}
	if got := slices.Sorted(maps.Keys(gradients)); !slices.Equal(got, []int64{20, 40}) {
		t.Errorf("histograms of gradients after steps %v", got)
	}
	records, err := train.ReadMetrics(filepath.Join(cfg.Dir(), "metrics.jsonl"))
	must(t, err)
	for _, r := range records {
		if h, ok := gradients[r.Step]; ok && !(math.Abs(math.Sqrt(h.SumSquares) / *r.GradNorm - 1) < 1e-5) {
			t.Errorf("step %d: gradients in the histogram have the norm %v, want %v", r.Step, math.Sqrt(h.SumSquares), *r.GradNorm)
		}
	}
	checkHistogram(t, cfg, parameters[40])
}

// checkHistogram compares one of the last step's parameter with the checkpoint.
func checkHistogram(t *testing.T, cfg train.Config, h eventtest.Histogram) {
	t.Helper()
	path, _, err := train.Latest(cfg.Dir())
	must(t, err)
	f, err := safetensors.OpenVerified(path)
	must(t, err)
	defer f.Close()
	raw, err := f.Bytes("bigram.table")
	must(t, err)
	kind, _, _ := f.Info("bigram.table")
	var values []float64
	for _, v := range dtype.Floats(kind, raw) {
		values = append(values, float64(v))
	}
	want := eventtest.Histogram{Min: slices.Min(values), Max: slices.Max(values), Num: float64(len(values)), Limits: h.Limits, Counts: make([]float64, len(h.Limits))}
	for _, v := range values {
		want.Sum += v
		want.SumSquares += v * v
		i, exact := slices.BinarySearch(h.Limits, v)
		if exact && v > 0 {
			i++
		}
		want.Counts[i]++
	}
	if fmt.Sprint(h) != fmt.Sprint(want) {
		t.Errorf("histogram of the parameters\n%v\nwant\n%v", h, want)
	}
}

// Started again after an interruption, a run goes on with another file, and readers see
// each step once; wall time goes on. So it is where the first file was asked for late.
func TestEventsAfterResume(t *testing.T) {
	dev := vktest.Open(t)
	for _, late := range []bool{false, true} {
		c := smallRun(t, t.TempDir())
		c.TensorBoard = !late
		c.CkptEvery = 25
		stopped, stop := context.WithCancel(ctx)
		err := runHooked(stopped, dev, c, train.Hooks{Progress: func(r train.Record) {
			if r.Step == 30 { // what follows is not saved: the write of the checkpoint is made to fail
				must(t, os.Mkdir(filepath.Join(c.Dir(), "checkpoint-00000030.safetensors"), 0o777))
				stop()
			}
		}})
		if err == nil {
			t.Fatal("the run was not stopped")
		}
		must(t, os.Remove(filepath.Join(c.Dir(), "checkpoint-00000030.safetensors")))
		if !late { // the file of a process that was killed in a write ends anywhere
			names, _ := filepath.Glob(filepath.Join(c.Dir(), "*tfevents*"))
			info, err := os.Stat(names[0])
			must(t, err)
			must(t, os.Truncate(names[0], info.Size()-5))
		}
		c.TensorBoard = true
		must(t, runHooked(ctx, dev, c, train.Hooks{}))
		events := eventtest.Run(t, c.Dir())
		wantCurves(t, c, events)
		if !slices.IsSortedFunc(events, func(a, b eventtest.Event) int {
			if a.Step == 0 || b.Step == 0 {
				return 0
			}
			return int(math.Copysign(1, a.Wall-b.Wall))
		}) {
			t.Error("wall time goes back")
		}
	}
}

// Configuration and samples are as they are, whatever characters they have.
func TestEventsHaveTexts(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.RunName, c.TensorBoard, c.TotalSteps = "a|b_c*", true, 20
	must(t, runHooked(ctx, dev, c, train.Hooks{Sample: func(step int64) string {
		if step == 0 {
			return ""
		}
		return "# no *title*\n\nand \xff"
	}}))
	var texts []string
	for _, e := range eventtest.Run(t, c.Dir()) {
		for _, v := range e.Values {
			if v.Text != "" {
				texts = append(texts, v.Tag+" of "+v.Plugin)
			}
			if v.Tag == "sample" && v.Text != "    # no *title*\n    \n    and \ufffd" {
				t.Errorf("sample %q", v.Text)
			}
			if v.Tag != "configuration" {
				continue
			}
			for _, row := range []string{"| field | value |\n|---|---|\n", `| run\_name | a\|b\_c\* |`, `| batch\_size | 8 |`} {
				if !strings.Contains(v.Text, row) {
					t.Errorf("there is no %s in\n%s", row, v.Text)
				}
			}
		}
	}
	if want := []string{"configuration of text", "custom_scalars__config__ of custom_scalars", "sample of text"}; !slices.Equal(texts, want) {
		t.Errorf("texts %q, want %q", texts, want)
	}
}

// Afresh, the event files of a run go, and no others.
func TestFreshRemovesEvents(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TensorBoard, c.TotalSteps = true, 20
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	other := filepath.Join(c.Dir(), "events.out.tfevents.1.host.7")
	must(t, os.WriteFile(other, nil, 0o666))
	must(t, runHooked(ctx, dev, c, train.Hooks{Fresh: true}))
	names, _ := filepath.Glob(filepath.Join(c.Dir(), "*tfevents*"))
	if len(names) != 2 || !slices.Contains(names, other) {
		t.Errorf("event files %q, want one and %s", names, other)
	}
}

// The gradients are those of the mean over the targets that count.
func TestGradientHistogramCountsTargets(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.BatchSize, c.ContextLen, c.Vocab, c.GradAccum, c.ValFraction, c.TensorBoard = 1, 4, 8, 5, 0, true
	c.TotalSteps, c.EvalEvery, c.LogEvery = 6, 1, 1
	ids := make([]uint16, 64)
	for i := range ids {
		if ids[i] = spared; i%16 > 8 {
			ids[i] = uint16(i * 7 % 8)
		}
	}
	m := &sparing{params: ops.NewParams(dev, c.Storage())}
	m.table = m.params.Add("table", c.Vocab, c.Vocab)
	must(t, m.params.Alloc())
	defer m.params.Release()
	must(t, nn.Initialize(ctx, m.params, 5, func(*ops.Tensor) nn.Init { return nn.Init{Deviation: 2} }))
	must(t, train.Run(ctx, dev, c, m, data.Corpus{Train: data.NewTokens(ids)}, train.Hooks{Logger: slog.New(slog.DiscardHandler)}))
	events := eventtest.Run(t, c.Dir())
	wantCurves(t, c, events)
	records, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
	must(t, err)
	found := histogramsOf(events, "gradients/table")
	for _, r := range records {
		h, norm := found[r.Step], *r.GradNorm
		if got := math.Sqrt(h.SumSquares); !(math.Abs(got-norm) <= 1e-4*norm) || h.Num == 0 && norm > 0 {
			t.Errorf("step %d: gradients in the histogram have the norm %v, want %v", r.Step, got, norm)
		}
	}
}

// A frozen set has no gradients; those of several sets, under rules of their own, have one norm.
func TestHistogramsOfSeveralSets(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TensorBoard = true
	corpus, err := train.OpenData(ctx, c, nil)
	must(t, err)
	defer corpus.Close()
	m, err := newAdapted(dev, c)
	must(t, err)
	defer m.thin.Release()
	defer m.Params().Release()
	must(t, train.Run(ctx, dev, c, grouped{m}, corpus, train.Hooks{}))
	events := eventtest.Run(t, c.Dir())
	tags := map[string]int{}
	for _, e := range events {
		for _, v := range e.Values {
			if v.Histogram != nil {
				tags[v.Tag]++
			}
		}
	}
	if want := map[string]int{"parameters/bigram.table": 3, "parameters/left": 3, "parameters/wide": 3, "gradients/left": 2, "gradients/wide": 2}; !maps.Equal(tags, want) {
		t.Errorf("histograms %v, want %v", tags, want)
	}
	records, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
	must(t, err)
	left, wide := histogramsOf(events, "gradients/left"), histogramsOf(events, "gradients/wide")
	for _, r := range records {
		if r.Step%c.EvalEvery != 0 || r.GradNorm == nil {
			continue
		}
		if got := math.Sqrt(left[r.Step].SumSquares + wide[r.Step].SumSquares); !(math.Abs(got / *r.GradNorm - 1) < 1e-5) {
			t.Errorf("step %d: gradients in the histograms have the norm %v, want %v", r.Step, got, *r.GradNorm)
		}
	}
}

// The time of training goes on where an earlier start ended: pauses are none of it.
func TestElapsedGoesOn(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TotalSteps = 20
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	first, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
	must(t, err)
	time.Sleep(time.Second)
	c.TotalSteps = 40
	began := time.Now()
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	took := time.Since(began).Seconds()
	all, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
	must(t, err)
	at := 0.0
	for _, r := range all {
		if r.ElapsedS == nil || *r.ElapsedS < at {
			t.Fatalf("step %d: elapsed %v after %v", r.Step, r.ElapsedS, at)
		}
		at = *r.ElapsedS
	}
	if more := at - *first[len(first)-1].ElapsedS; more > took {
		t.Errorf("the second start took %v s of training, and %v s in all", more, took)
	}
}
