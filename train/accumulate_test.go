package train_test

import (
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk/vktest"
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
