package ops_test

import (
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk/vktest"
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
		{func(g *ops.Graph) { g.RMSNorm(g.Input("", ops.I32, 3), g.Input("", ops.I32, 3), 0) }, "ops: rms norm: i32[3] with i32[3]"},
		{func(g *ops.Graph) { g.RMSNorm(f(g), f(g, 1), 0) }, "ops: rms norm: f32[] with f32[1]"},
		{func(g *ops.Graph) { g.RMSNorm(f(g, 3), nil, 0) }, "ops: rms norm: argument 1 is nil"},
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
