package ops_test

import (
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// TestAttentionGolden holds value and gradients against PyTorch's in float64.
func TestAttentionGolden(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range opstest.AttentionCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			dt := map[string]ops.DType{"f32": ops.F32, "f16": ops.F16, "bf16": ops.BF16}[c.DType]
			qs, ks := []int{c.B, c.T, c.Heads, c.Size}, []int{c.B, c.T, c.KVHeads, c.Size}
			q, k, v := c.Inputs()
			tq, tk, tv := tensor(t, dev, dt, qs, q), tensor(t, dev, dt, ks, k), tensor(t, dev, dt, ks, v)
			g := ops.NewGraph(dev)
			for _, x := range []*ops.Tensor{tq, tk, tv} {
				g.RequireGrad(x)
			}
			y := g.Attention(tq, tk, tv, nil)
			ops.BackwardFrom(g, y, tensor(t, dev, dt, qs, c.DY()), false)
			results := []*ops.Tensor{y, g.Grad(tq), g.Grad(tk), g.Grad(tv)}
			for _, x := range results {
				g.Output(x)
			}
			defer run(t, g).Close()
			tol := attentionTolerance(dt)
			if c.Q.Range > 2 {
				tol = 2e-5 // the error of a weight is that of its score, some hundred here
			}
			for i, want := range []opstest.Golden{c.Want, c.WantDQ, c.WantDK, c.WantDV} {
				opstest.CheckL2(t, []string{"y", "dq", "dk", "dv"}[i], values(t, results[i]), want, tol)
			}
		})
	}
}
