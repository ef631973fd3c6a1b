package optim_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// The gradient of a step is the sum over its passes: exactly, in f32 and in
// their order, of 16-bit gradients; and the update leaves zeros for the next.
// With β1 = 0 the first moment is the gradient that the update saw; with a
// learning rate of 0 the second step sees the same.
func TestAccumulate(t *testing.T) {
	dev := vktest.Open(t)
	const v, n, passes = 9, 14, 3
	for _, dt := range storage {
		for _, scaler := range []*optim.Scaler{nil, {Init: 1024}} {
			t.Run(fmt.Sprint(dt, " scaling=", scaler != nil), func(t *testing.T) {
				p := newParams(t, dev, dt, opstest.Round(dt.String(), opstest.Uniform(3, v*5, 1)), opstest.Round(dt.String(), opstest.Uniform(4, v*5, 1)))
				hyper := optim.Hyper{Beta1: optim.Zero, Beta2: 0.5}
				a := newOptimizer(t, p, &optim.Options{Scaler: scaler, Accumulate: true, Groups: []optim.Group{{Params: p.All(), Hyper: hyper}}})
				a.SetLR(0)
				single := newOptimizer(t, p, &optim.Options{Scaler: scaler, Groups: []optim.Group{{Params: p.All(), Hyper: hyper}}})

				// pass computes the gradient of one batch by way of optimizer a.
				build := func(a *optim.Optimizer) func(k int) {
					g := ops.NewGraph(dev)
					x, y := g.Input("x", ops.I32, n), g.Input("y", ops.I32, n)
					a.Backward(g, g.CrossEntropy(g.MatMulNT(g.Embed(p.All()[0], x), p.All()[1]), y, nil), 1./passes)
					step, err := g.Compile()
					must(t, err)
					t.Cleanup(func() { must(t, step.Close()) })
					return func(k int) {
						ids := make([]int32, 2*n)
						for i := range ids {
							ids[i] = int32((i*i + k*(i+3)) % v)
						}
						must(t, ops.Upload(ctx, x, ids[:n]))
						must(t, ops.Upload(ctx, y, ids[n:]))
						must(t, step.Run())
						must(t, step.Wait(ctx))
					}
				}
				// What each pass finds alone.
				want := make([][]float32, len(p.All()))
				alone := build(single)
				for k := range passes {
					alone(k)
					for i, x := range p.All() {
						grad := download(t, p.Grad(x))
						if want[i] == nil {
							want[i] = make([]float32, len(grad))
						}
						for j, d := range grad {
							want[i][j] += d
						}
					}
				}
				if scaler != nil {
					for i := range want {
						for j := range want[i] {
							want[i][j] /= 1024
						}
					}
				}
				must(t, ops.Upload(ctx, p.Grad(p.All()[0]), make([]float32, v*5)))
				must(t, ops.Upload(ctx, p.Grad(p.All()[1]), make([]float32, v*5)))

				pass, update := build(a), record(t, a, dev)
				for step := range 2 {
					for k := range passes {
						pass(k)
					}
					for i, x := range p.All() { // what the update is to read
						sum := download(t, update.Gradient(x))
						if scaler != nil {
							for j := range sum {
								sum[j] /= 1024
							}
						}
						if e := opstest.RelL2(sum, want[i]); !(e <= 1e-6) || dt != ops.F32 && e != 0 {
							t.Errorf("step %d, %s: Gradient is off by %.3g: %v, want %v", step, x.Name(), e, sum, want[i])
						}
					}
					update.run(t)
					for i, x := range p.All() {
						m, _, _ := moments(a, x)
						got := download(t, m)
						if e := opstest.RelL2(got, want[i]); !(e <= 1e-6) || dt != ops.F32 && e != 0 {
							t.Errorf("step %d, %s: gradient is off by %.3g: %v, want %v", step, x.Name(), e, got, want[i])
						}
					}
				}
			})
		}
	}
}

// Reserved state takes no memory before the first update, and then as much as
// Bytes said.
func TestReserve(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		p := newParams(t, dev, dt, opstest.Uniform(3, 700, 1), opstest.Uniform(4, 1000, 1))
		start := opstest.Round(dt.String(), opstest.Uniform(5, 700, 1))
		before := dev.Stats().BufferBytes
		a := newOptimizer(t, p, &optim.Options{Reserve: true, Accumulate: true})
		if got := dev.Stats().BufferBytes - before; got > 16 {
			t.Errorf("%s: reserving allocated %d bytes", dt, got)
		}
		must(t, ops.Upload(ctx, p.All()[0], start))
		g := ops.NewGraph(dev)
		a.Record(g)
		plan, err := g.Plan()
		must(t, err)
		step, err := g.Compile()
		must(t, err)
		grads := p.Banks()[0].Grads.Bytes()
		if dt != ops.F32 {
			grads = 0 // the update reads their f32 sum
		}
		if got, want := dev.Stats().BufferBytes-before, a.Bytes()+grads+plan.Arena+plan.Inputs+plan.Owned; got != want {
			t.Errorf("%s: %d bytes allocated, want %d", dt, got, want)
		}
		_, err = a.State(ctx) // of the slots as they are then
		must(t, err)
		if _, _, master := moments(a, p.All()[0]); master != nil && !slices.Equal(download(t, master), start) {
			t.Errorf("%s: the master copy is not that of the parameter", dt)
		}
		must(t, step.Close())
		a.Release()
		p.Release()
	}
}
