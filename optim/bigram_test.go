package optim_test

import (
	"fmt"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// Twenty steps of a bigram model, everything on the device: the losses and
// norms of each step and the final table are PyTorch's. Loss scaling by a power
// of two must not show.
func TestSpec4BigramTrainingGolden(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range opstest.BigramCases(t) {
		for _, dt := range storage {
			for _, scaler := range []*optim.Scaler{nil, {Init: 256}} {
				t.Run(fmt.Sprint(c, " ", dt, " scaling=", scaler != nil), func(t *testing.T) {
					p := ops.NewParams(dev, dt)
					e := p.Add("table", c.V, c.V)
					must(t, p.Alloc())
					t.Cleanup(p.Release)
					must(t, ops.Upload(ctx, e, c.Init()))
					a := newOptimizer(t, p, &optim.Options{Rule: optim.AdamW{Torch: c.Variant == "torch"}, MaxNorm: &c.MaxNorm, Scaler: scaler,
						Groups: []optim.Group{{Params: p.All(), Hyper: hyperOf(c.Options(1))}}})
					g := ops.NewGraph(dev)
					x, y := g.Input("x", ops.I32, c.B, c.M), g.Input("y", ops.I32, c.B, c.M)
					loss := g.CrossEntropy(g.Embed(e, x), y, nil)
					g.Backward(loss, nil)
					g.Output(loss)
					r := recording{Update: a.Record(g)}
					var err error
					r.step, err = g.Compile()
					must(t, err)
					t.Cleanup(func() { must(t, r.step.Close()) })

					// 16-bit gradients are rounded, and so is the table that the loss
					// is computed from; errors of a step add up over the run.
					tol := map[ops.DType]float64{ops.F32: 2e-6, ops.F16: 4 * opstest.Epsilon("f16"), ops.BF16: 4 * opstest.Epsilon("bf16")}[dt]
					for step := 1; step <= len(c.Rates); step++ {
						xs, ys := c.Batch(step)
						must(t, ops.Upload(ctx, x, xs))
						must(t, ops.Upload(ctx, y, ys))
						a.SetLR(c.Options(step).LR)
						r.run(t)
						got, err := ops.Item(ctx, loss)
						must(t, err)
						if e := opstest.RelErr(float64(got), c.Losses[step-1]); !(e <= tol) {
							t.Errorf("loss of step %d is %v, want %v: off by %.3g", step, got, c.Losses[step-1], e)
						}
						norm, err := r.Norm(ctx)
						must(t, err)
						if e := opstest.RelErr(norm, c.Norms[step-1]); !(e <= tol) {
							t.Errorf("norm of step %d is %v, want %v: off by %.3g", step, norm, c.Norms[step-1], e)
						}
					}
					if dt == ops.F32 {
						opstest.CheckL2(t, "table", download(t, e), c.E, tol)
					}
				})
			}
		}
	}
}
