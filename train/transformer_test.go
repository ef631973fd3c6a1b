package train_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// smallTransformer is a run of 100 steps that software devices do in seconds.
func smallTransformer(t testing.TB, dir string) train.Config {
	c := smallRun(t, dir)
	c.Model = "transformer"
	c.Layers, c.Heads, c.KVHeads, c.Width, c.FFN = 2, 2, 1, 16, 20
	c.BatchSize, c.ContextLen = 4, 16
	c.TotalSteps, c.WarmupIters, c.CosineIters = 100, 10, 100
	c.LogEvery, c.EvalEvery, c.CkptEvery, c.EvalWindows = 25, 50, 30, 8
	c.LRMax, c.LRMin, c.NoDecay = 5e-3, 5e-4, "vectors+embeddings"
	return c
}

// transformers of each kind, with all that a run may turn on.
var transformers = []struct {
	name string
	set  func(*train.Config)
}{
	{"cs336 f32 with dropout and recomputation", func(c *train.Config) { c.MixedPrecision = false; c.Dropout = 0.1; c.Recompute = true }},
	{"gpt2 bf16 with accumulation and dropout", func(c *train.Config) {
		c.Norm, c.Activation, c.Positions, c.Tied, c.Bias, c.Init = "layernorm", "gelu_tanh", "learned", true, true, "gpt2"
		c.AdamW, c.GradAccum, c.Dropout = "torch", 2, 0.1
	}},
	{"mistral f16 with loss scaling", func(c *train.Config) { c.HeadSize, c.Width, c.Positions, c.HalfType = 12, 18, "rope_half", "f16" }},
}

// The same seed on the same device gives the same bits after 100 steps, also
// when the run stops and goes on twice.
func TestTransformerResumesBitForBit(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of steps; the interrupted runs stop and go on as well")
	}
	for _, v := range transformers {
		t.Run(v.name, func(t *testing.T) {
			dev := vktest.Open(t)
			whole := smallTransformer(t, t.TempDir())
			v.set(&whole)
			last, err := runOnce(ctx, dev, whole)
			must(t, err)
			if !(*last.Loss < 2.5) { // log 128 is 4.85
				t.Errorf("the loss after 100 steps is %v: nothing was learned", *last.Loss)
			}
			stopped := whole
			stopped.RunName = "stopped"
			for _, stop := range []int64{25, 75} { // neither has a checkpoint of its own
				ctx, cancel := context.WithCancel(ctx)
				err := runHooked(ctx, dev, stopped, train.Hooks{Progress: func(r train.Record) {
					if r.Step == stop {
						cancel()
					}
				}})
				cancel()
				if !errors.Is(err, train.ErrInterrupted) {
					t.Fatalf("stopped at step %d: %v", stop, err)
				}
				if whole.HeadSize == 0 { // as before heads had a size of their own
					path, _, err := train.Latest(stopped.Dir())
					must(t, err)
					rewriteConfig(t, path, "head_size")
				}
			}
			_, err = runOnce(ctx, dev, stopped)
			must(t, err)
			sameState(t, state(t, stopped), state(t, whole))
		})
	}
}

// Recomputation changes nothing but the memory.
func TestRecomputeTradesTimeForMemory(t *testing.T) {
	dev := vktest.Open(t)
	var states []map[string]string
	var plans []train.MemoryPlan
	for _, recompute := range []bool{false, true} {
		c := smallTransformer(t, t.TempDir())
		c.Layers, c.TotalSteps, c.Dropout, c.Recompute = 6, 3, 0.1, recompute
		must(t, runHooked(ctx, dev, c, train.Hooks{Plan: func(p train.MemoryPlan) { plans = append(plans, p) }}))
		states = append(states, state(t, c))
	}
	sameState(t, states[1], states[0])
	if kept, less := plans[0].Activations, plans[1].Activations; less > kept/2 {
		t.Errorf("activations take %d bytes with recomputation, %d without", less, kept)
	}
}

func TestTransformerPeakMemoryIsThePlan(t *testing.T) {
	for _, v := range transformers {
		t.Run(v.name, func(t *testing.T) {
			dev := openChecked(t)
			c := smallTransformer(t, t.TempDir())
			v.set(&c)
			c.TotalSteps, c.CkptEvery = 3, 2
			var plan train.MemoryPlan
			var at vk.DeviceStats
			must(t, runHooked(ctx, dev, c, train.Hooks{Plan: func(p train.MemoryPlan) { plan = p }, Sample: func(int64) string { at = dev.Stats(); return "" }}))
			if got, want := dev.Stats().PeakBytes, plan.Total(); got != want || at.HostBytes != plan.Host {
				t.Errorf("at most %d bytes on the device and %d on the host, planned %d:\n%v", got, at.HostBytes, want, plan)
			}
		})
	}
}
