package ops_test

import (
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

func TestNormErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.RMSNorm(f(g, 2, 3), f(g, 2), 0) }, "ops: rms norm: f32[2 3] with f32[2]: want one float type and a value for each column"},
		{func(g *ops.Graph) { g.RMSNorm(f(g, 2, 3), f(g, 1, 3), 0) }, "ops: rms norm: f32[2 3] with f32[1 3]"},
		{func(g *ops.Graph) { g.RMSNorm(f(g, 2, 3), g.Input("", ops.F16, 3), 0) }, "ops: rms norm: f32[2 3] with f16[3]"},
		{func(g *ops.Graph) { g.RMSNorm(g.Input("", ops.I32, 3), g.Input("", ops.I32, 3), 0) }, "ops: rms norm: i32[3]: want a float type and a dimension"},
		{func(g *ops.Graph) { g.RMSNorm(f(g), f(g, 1), 0) }, "ops: rms norm: f32[]: want a float type and a dimension"},
		{func(g *ops.Graph) { g.LayerNorm(f(g, 3), nil, nil, 0) }, "ops: layer norm: argument 1 is nil"},
		{func(g *ops.Graph) { g.RMSNorm(f(g, 3), f(g, 3), -1) }, "ops: rms norm: eps is -1, want a finite number"},
		{func(g *ops.Graph) { g.RMSNorm(f(g, 3), f(g, 3), math.NaN()) }, "ops: rms norm: eps is NaN"},
		{func(g *ops.Graph) { g.RMSNorm(f(g, 3), f(g, 3), 1e39) }, "ops: rms norm: eps is 1e+39"},
		{func(g *ops.Graph) { g.LayerNorm(f(g, 2, 3), f(g, 2), nil, 0) }, "ops: layer norm: f32[2 3] with f32[2]"},
		{func(g *ops.Graph) { g.LayerNorm(f(g, 2, 3), f(g, 3), f(g, 2), 0) }, "ops: layer norm: f32[2 3] with f32[2]"},
		{func(g *ops.Graph) { g.LayerNorm(f(g, 2, 3), f(g, 3), g.Input("", ops.BF16, 3), 0) }, "ops: layer norm: f32[2 3] with bf16[3]"},
		{func(g *ops.Graph) { g.LayerNorm(nil, nil, nil, 0) }, "ops: layer norm: argument 0 is nil"},
		{func(g *ops.Graph) { g.LayerNorm(f(g, 3), f(g, 3), nil, math.Inf(1)) }, "ops: layer norm: eps is +Inf"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at norms_errors_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}

// Without a weight a row has the bits that a weight of ones gives it, and its gradient the reference's.
func TestRMSNormWithoutWeight(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{5}, {3, 7}, {2, 9, 65}, {4, 4100}} {
			n, d := 1, shape[len(shape)-1]
			for _, s := range shape {
				n *= s
			}
			xv, dy, ones := random(dt, 196, n), random(dt, 197, n), make([]float32, d)
			for i := range ones {
				ones[i] = 1
			}
			x := tensor(t, dev, dt, shape, xv)
			var got [2][2][]float32
			for i, w := range []*ops.Tensor{nil, tensor(t, dev, dt, []int{d}, ones)} {
				g := ops.NewGraph(dev)
				g.RequireGrad(x)
				y := g.RMSNorm(x, w, normEps)
				ops.BackwardFrom(g, y, tensor(t, dev, dt, shape, dy), false)
				g.Output(y)
				g.Output(g.Grad(x))
				run(t, g)
				got[i] = [2][]float32{values(t, y), values(t, g.Grad(x))}
			}
			opstest.Close(t, got[0][0], got[1][0], 0)
			opstest.Close(t, got[0][1], got[1][1], 0)
			dx, _ := opstest.RMSNormBackward64(xv, ones, dy, normEps)
			for what, e := range map[string]float64{"value": opstest.RelL2(got[0][0], opstest.RMSNorm64(xv, ones, normEps)), "gradient": opstest.RelL2(got[0][1], dx)} {
				if !(e <= 2*tolerance(dt)) {
					t.Errorf("%s%v: %s off by %.2g", dt, shape, what, e)
				}
			}
		}
	}
}
