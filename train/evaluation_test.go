package train_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
)

// A run may do without evaluation: it trains on all tokens, and samples and plots as
// often as it would evaluate.
func TestRunWithoutEvaluation(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.ValFraction = 0
	samples := []int64{}
	h := train.Hooks{Sample: func(step int64) string { samples = append(samples, step); return "" }}
	must(t, runHooked(ctx, dev, c, h))
	records, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
	must(t, err)
	for _, r := range records {
		if r.ValLoss != nil || r.Loss == nil {
			t.Errorf("step %d: loss %v, held-out loss %v", r.Step, r.Loss, r.ValLoss)
		}
	}
	if n := len(records); n != 4 || records[n-1].Step != 40 || len(samples) != 2 || samples[0] != 20 {
		t.Errorf("records %+v, samples at %v, want 4 and 2", records, samples)
	}
	if _, err := os.Stat(filepath.Join(c.Dir(), "loss.png")); err != nil {
		t.Error(err)
	}
	must(t, runHooked(ctx, dev, c, h)) // has nothing to do
	if len(samples) != 2 {
		t.Errorf("at its end it samples at %v", samples[2:])
	}
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	defer data.Close()
	if data.Val != nil || data.Train.Len() != 20000 {
		t.Errorf("%d tokens to train on, want all 20000, and %v to evaluate on", data.Train.Len(), data.Val)
	}
}

// An evaluation is cut short, and the run that goes on makes up for it.
func TestEvaluationInterrupted(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.LogEvery, c.EvalEvery, c.TotalSteps = 1, 4, 5
	stopped, stop := context.WithCancel(ctx)
	var step int64
	err := runHooked(stopped, dev, c, train.Hooks{Step: func(n int64) { step = n }, Phase: func(p train.Phase) {
		if p.Name == "evaluating" && step == 4 {
			stop()
		}
	}})
	if !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
	measured := func() (all []string) {
		records, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl"))
		must(t, err)
		for _, r := range records {
			all = append(all, fmt.Sprint(r.Step, r.Loss != nil, r.ValLoss != nil))
		}
		return all
	}
	_, saved, err := train.Latest(c.Dir())
	must(t, err)
	want := []string{"0 false true", "1 true false", "2 true false", "3 true false", "4 true false"}
	if got := measured(); !slices.Equal(got, want) || saved != 4 {
		t.Fatalf("stopped: step %d is saved, records (step, loss, val_loss) are %q, want step 4 and %q", saved, got, want)
	}
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	want = append(want, "4 false true", "5 true true")
	if got := measured(); !slices.Equal(got, want) {
		t.Errorf("resumed: records are %q, want %q", got, want)
	}
}

// unaware is a model that takes every target for a class.
type unaware struct{ *network }

func (m unaware) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.CrossEntropy(g.Linear(g.Embed(m.embed, x), m.w2, nil), y, nil)
}

// A model of one's own trains, and one that forgets the targets which do not count is
// told how to leave them out.
func TestModelOfOnesOwn(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.Model, c.EvalWindows, c.MixedPrecision = "transformer", 11, false // the last batch is not full
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	defer data.Close()
	m, err := newNetwork(dev, ops.F32, c.Vocab, 16, 1)
	must(t, err)
	defer m.Params().Release()
	quiet := train.Hooks{}
	must(t, train.Run(ctx, dev, c, m, data, quiet))
	c.RunName = "unaware"
	mustFail(t, train.Run(ctx, dev, c, unaware{m}, data, quiet), "IgnoreIndex: new(data.PadTarget)")
	if _, err := os.Stat(filepath.Join(c.Dir(), "checkpoint-00000040.safetensors")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
