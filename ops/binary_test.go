package ops_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// binaries are the operations of opstest.Binaries, in that order.
var binaries = []func(g *ops.Graph, a, b *ops.Tensor) *ops.Tensor{(*ops.Graph).Add, (*ops.Graph).Sub, (*ops.Graph).Mul, (*ops.Graph).Div}

// awayFromZero moves values to where a division by them is no trouble.
func awayFromZero(dt ops.DType, x []float32) []float32 {
	for i := range x {
		if x[i] += 1; x[i] >= 1 {
			x[i]++
		} else {
			x[i] -= 2
		}
	}
	return opstest.Round(dt.String(), x)
}

func TestBinaryBroadcasts(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range []struct{ a, b, y []int }{
		{[]int{}, []int{}, []int{}},
		{[]int{3, 5}, []int{3, 5}, []int{3, 5}},
		{[]int{9, 1000}, []int{1000}, []int{9, 1000}},          // a row
		{[]int{300, 7}, []int{300, 1}, []int{300, 7}},          // a column
		{[]int{3, 6}, []int{}, []int{3, 6}},                    // a scalar
		{[]int{1}, []int{2, 3, 5}, []int{2, 3, 5}},             // another, first
		{[]int{3, 1}, []int{1, 5}, []int{3, 5}},                // both
		{[]int{4, 1}, []int{4, 4}, []int{4, 4}},                // as large, padded
		{[]int{2, 3, 4, 6}, []int{4, 1}, []int{2, 3, 4, 6}},    // a scale for each head
		{[]int{2, 3, 4, 6}, []int{3, 1, 1}, []int{2, 3, 4, 6}}, // for each position
		{[]int{2, 1, 4, 1}, []int{3, 1, 5}, []int{2, 3, 4, 5}}, // every dimension of one or the other
		{[]int{2, 3, 2, 3, 2}, []int{2, 1, 2, 1, 2}, []int{2, 3, 2, 3, 2}},
	} {
		for i, o := range opstest.Binaries {
			for _, dt := range floats {
				a, b := tensor[float32](t, dev, dt, c.a, nil), tensor[float32](t, dev, dt, c.b, nil)
				av, bv := random(dt, 170, a.Len()), awayFromZero(dt, opstest.Uniform(171, b.Len(), 1))
				must(t, ops.Upload(ctx, a, av))
				must(t, ops.Upload(ctx, b, bv))
				g := ops.NewGraph(dev)
				g.RequireGrad(a)
				g.RequireGrad(b)
				y := binaries[i](g, a, b)
				if !slices.Equal(y.Shape(), c.y) {
					t.Fatalf("%v %s %v: shape %v, want %v", c.a, o.Name, c.b, y.Shape(), c.y)
				}
				dy := random(dt, 172, y.Len())
				ops.BackwardFrom(g, y, tensor(t, dev, dt, c.y, dy), false)
				g.Output(y)
				g.Output(g.Grad(a))
				g.Output(g.Grad(b))
				run(t, g)
				want := o.Apply(opstest.F64(av), opstest.F64(bv), c.a, c.b, c.y)
				da, db := o.Backward(opstest.F64(av), opstest.F64(bv), opstest.F64(dy), c.a, c.b, c.y)
				for what, pair := range map[string]struct {
					got  []float32
					want []float64
				}{"value": {values(t, y), want}, "d a": {values(t, g.Grad(a)), da}, "d b": {values(t, g.Grad(b)), db}} {
					if e := opstest.RelL2(pair.got, pair.want); !(e <= 2*tolerance(dt)) {
						t.Errorf("%v %s %v in %s: %s off by %.2g", c.a, o.Name, c.b, dt, what, e)
					}
				}
				for j, v := range values(t, ops.Padded(y)) {
					if d := append([]int{1}, c.y...)[len(c.y)]; j%((d+3)/4*4) >= d && v != 0 {
						t.Fatalf("%v %s %v: %v behind the end of a row", c.a, o.Name, c.b, v)
					}
				}
			}
		}
	}
}

// The gradients of parameters are added to, and of a tensor on both sides summed.
func TestBinaryGradientsAdd(t *testing.T) {
	dev := vktest.Open(t)
	wv, xv, dy := random(ops.F32, 173, 6), random(ops.F32, 174, 18), random(ops.F32, 175, 18)
	for _, accumulate := range []bool{false, true} {
		p := ops.NewParams(dev, ops.F32)
		w := p.Add("w", 6)
		must(t, p.Alloc())
		must(t, ops.Upload(ctx, w, wv))
		g := ops.NewGraph(dev)
		g.Fill(p.Grad(w), 3)
		x := tensor(t, dev, ops.F32, []int{3, 6}, xv)
		y := g.Mul(g.Add(x, w), g.Mul(w, w)) // (x + w) w^2
		ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{3, 6}, dy), accumulate)
		run(t, g)
		want := make([]float64, 6)
		for i, x := range xv {
			w := float64(wv[i%6])
			want[i%6] += float64(dy[i]) * (w*w + 2*w*(float64(x)+w))
		}
		for i := range want {
			if accumulate {
				want[i] += 3
			}
		}
		opstest.Close(t, values(t, p.Grad(w)), want, 1e-6)
		p.Release()
	}
}

// A part of a tensor's own rows, repeated: the result can't take the memory over that it still reads.
func TestBinaryOfItsOwnRows(t *testing.T) {
	dev := vktest.Open(t)
	const n = 64
	xv := random(ops.F32, 176, n*n)
	for _, immediate := range []bool{false, true} {
		g := ops.NewGraph(dev)
		if immediate {
			g = ops.NewImmediate(dev)
			t.Cleanup(g.Release)
		}
		x := g.Scale(tensor(t, dev, ops.F32, []int{n, n}, xv), 1)
		y := g.Add(x, g.Rows(x, 0, 1))
		g.Output(y)
		if !immediate {
			run(t, g)
		}
		must(t, g.Err())
		want := make([]float64, n*n)
		for i := range want {
			want[i] = float64(xv[i]) + float64(xv[i%n])
		}
		opstest.Close(t, values(t, y), want, 1e-6)
	}
}

func TestBinaryErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.Sub(f(g, 2, 3), f(g, 3, 2)) }, "ops: sub: f32[2 3] − f32[3 2]: dimensions differ that are not 1"},
		{func(g *ops.Graph) { g.Mul(f(g, 2, 3), f(g, 2)) }, "ops: mul: f32[2 3] · f32[2]"},
		{func(g *ops.Graph) { g.Div(f(g, 2), g.Input("", ops.F16, 2)) }, "ops: div: f32[2] / f16[2]: want one float type"},
		{func(g *ops.Graph) { g.Mul(g.Input("", ops.I32, 2), g.Input("", ops.I32, 2)) }, "ops: mul: i32[2] · i32[2]: want one float type"},
		{func(g *ops.Graph) { g.Div(f(g, 2), nil) }, "ops: div: argument 1 is nil"},
		{func(g *ops.Graph) { g.Add(f(g, 2, 2, 2, 2, 2, 2), f(g, 2, 1, 2, 1, 2, 2)) }, "repeated along too many dimensions apart"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at binary_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
