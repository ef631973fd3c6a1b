package train_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
)

// With a learning rate of 0, three steps of a batch each see what one step of
// three micro-batches sees, whose loss is the mean.
func TestLossIsTheMeanOverMicroBatches(t *testing.T) {
	dev := vktest.Open(t)
	for _, mixed := range []bool{false, true} {
		losses := func(accumulate int, steps int64) (out []float64) {
			c := smallRun(t, t.TempDir())
			c.MixedPrecision, c.GradAccum, c.TotalSteps, c.LogEvery = mixed, accumulate, steps, 1
			c.LRMax, c.LRMin = 0, 0
			must(t, runHooked(ctx, dev, c, train.Hooks{Progress: func(r train.Record) {
				if r.Loss != nil {
					out = append(out, *r.Loss)
				}
			}}))
			return out
		}
		single, joined := losses(1, 6), losses(3, 2)
		if len(single) != 6 || len(joined) != 2 {
			t.Fatalf("%d and %d losses, want 6 and 2", len(single), len(joined))
		}
		for i, got := range joined {
			want := (single[3*i] + single[3*i+1] + single[3*i+2]) / 3
			if !(math.Abs(got-want) <= 1e-6*want) {
				t.Errorf("mixed %v: loss of step %d is %v, want the mean %v of %v", mixed, i+1, got, want, single[3*i:3*i+3])
			}
		}
	}
}

// Dropout is drawn anew for each micro-batch, and not in evaluation.
func TestDropoutInTrainingOnly(t *testing.T) {
	dev := vktest.Open(t)
	run := func(dropout float64) (losses []float64, val float64) {
		c := smallRun(t, t.TempDir())
		c.TotalSteps, c.LogEvery, c.Dropout = 2, 1, dropout
		c.LRMax, c.LRMin, c.WarmupIters = 0.2, 0.2, 0
		must(t, runHooked(ctx, dev, c, train.Hooks{Progress: func(r train.Record) {
			if r.Loss != nil {
				losses = append(losses, *r.Loss)
			}
			if r.Step == 0 {
				val = *r.ValLoss
			}
		}}))
		return losses, val
	}
	without, val := run(0)
	with, valDropped := run(0.5)
	if val != valDropped {
		t.Errorf("validation loss is %v with dropout, %v without", valDropped, val)
	}
	// The table starts with zeros, of which dropout leaves zeros.
	if without[0] != with[0] || without[1] == with[1] {
		t.Errorf("losses %v without dropout and %v with it: want the second to differ", without, with)
	}
}

// A token outside the vocabulary in any micro-batch keeps the step from updating.
func TestBadTokenStopsTheAccumulatedStep(t *testing.T) {
	dev := vktest.Open(t)
	for _, accumulate := range []int{1, 3} {
		c := smallRun(t, t.TempDir())
		c.GradAccum, c.WarmupIters = accumulate, 0
		ids := make([]uint32, c.ContextLen+1) // one window: each batch has the bad token
		ids[5] = uint32(c.Vocab)
		model, err := nn.NewBigram(dev, c.Storage(), c.Vocab)
		must(t, err)
		defer model.Params().Release()
		tr, err := train.NewTrainer(dev, c, model, data.NewTokens(ids))
		must(t, err)
		defer tr.Close()
		must(t, tr.Step())
		var bad *ops.BadIndexError
		if err := tr.Wait(ctx); !errors.As(err, &bad) || bad.Value != int64(c.Vocab) {
			t.Errorf("%d micro-batches: error is %v, want one about token %d", accumulate, err, c.Vocab)
		}
		logits, err := model.Logits(ctx)
		must(t, err)
		if i := slices.IndexFunc(logits, func(v float32) bool { return v != 0 }); i >= 0 {
			t.Errorf("%d micro-batches: logit %d was updated to %v", accumulate, i, logits[i])
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
