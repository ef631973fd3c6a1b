package optim_test

import (
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// Accumulation begins with zeros, whatever a backward pass, an optimizer that was
// released or passes before SetState have left in the gradients' arena.
func TestSumsBeginWithZeros(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		m := newTable(t, dev, dt)
		compile := func(build func(g *ops.Graph, loss *ops.Tensor)) *ops.Step {
			g := ops.NewGraph(dev)
			loss := m.loss(t, g)
			g.Output(loss)
			build(g, loss)
			step, err := g.Compile()
			must(t, err)
			t.Cleanup(func() { must(t, step.Close()) })
			return step
		}
		alone := compile(func(g *ops.Graph, loss *ops.Tensor) { g.Backward(loss, nil) })
		must(t, alone.Run())
		must(t, dev.Wait(ctx))
		want, err := optim.ClipGradNorm(ctx, m.params, 1e9)
		must(t, err)
		for range 2 { // the second begins with what the first, once released, has left
			must(t, ops.Upload(ctx, m.e, opstest.Uniform(5, 36, 1)))
			a, err := optim.NewAdamW(m.params, &optim.Options{Accumulate: true})
			must(t, err)
			pass := compile(func(g *ops.Graph, loss *ops.Tensor) { a.Backward(g, loss, 1) })
			update := record(t, a, dev)
			norm := func() float64 {
				t.Helper()
				update.run(t)
				norm, err := update.Norm(ctx)
				must(t, err)
				return norm
			}
			saved, err := a.State(ctx)
			must(t, err)
			must(t, pass.Run())
			if got := norm(); !(opstest.RelErr(got, want) <= 1e-6) {
				t.Errorf("%s: the first norm is %v, want %v", dt, got, want)
			}
			if n := a.Waiting(); n != 0 {
				t.Errorf("%s: %d passes wait after the update", dt, n)
			}
			must(t, ops.Upload(ctx, m.e, opstest.Uniform(5, 36, 1)))
			must(t, pass.Run())
			must(t, pass.Run())
			if n := a.Waiting(); n != 2 {
				t.Errorf("%s: %d passes wait, want 2", dt, n)
			}
			must(t, a.SetState(ctx, saved))
			must(t, pass.Run())
			if got := norm(); !(opstest.RelErr(got, want) <= 1e-6) {
				t.Errorf("%s: the norm after SetState is %v, want %v", dt, got, want)
			}
			must(t, pass.Run())
			must(t, dev.Wait(ctx))
			a.Release()
		}
	}
}

// The state of an optimizer without loss scaling leaves the scale of one that has it as
// it begins; one with a scale of 1 sets it.
func TestStateOfNoScaler(t *testing.T) {
	dev := vktest.Open(t)
	scale := func(first *optim.Scaler) float32 {
		p := newParams(t, dev, ops.F16, []float32{1, 2})
		from, to := newOptimizer(t, p, &optim.Options{Scaler: first}), newOptimizer(t, p, &optim.Options{Scaler: &optim.Scaler{}})
		s, err := from.State(ctx)
		must(t, err)
		must(t, to.SetState(ctx, s))
		s, err = to.State(ctx)
		must(t, err)
		s.Steps = map[string]int64{"p0": 1 << 62}
		wantError(t, "an impossible count", to.SetState(ctx, s), "4611686018427387904 steps")
		return s.Scale
	}
	if got := scale(nil); got != 65536 {
		t.Errorf("without a scaler: %v, want 65536", got)
	}
	if got := scale(&optim.Scaler{Init: 1}); got != 1 {
		t.Errorf("with a scale of 1: %v", got)
	}
}
