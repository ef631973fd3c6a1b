package ops_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// softmax returns softmax(x) and its gradient for the gradient dy of the result.
func softmax(t testing.TB, dev *vk.Device, dt ops.DType, shape []int, x, dy []float32, tune ...func(g *ops.Graph)) (y, dx []float32) {
	t.Helper()
	in := tensor(t, dev, dt, shape, x)
	g := ops.NewGraph(dev)
	for _, f := range tune {
		f(g)
	}
	g.RequireGrad(in)
	out := g.Softmax(in)
	g.Output(out)
	ops.BackwardFrom(g, out, tensor(t, dev, dt, shape, dy), false)
	g.Output(g.Grad(in))
	run(t, g)
	return values(t, out), values(t, g.Grad(in))
}

func TestSoftmax(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{1}, {5}, {3, 7}, {2, 3, 33}, {3, 1001}, {2, 50257}} {
			t.Run(fmt.Sprint(dt, shape), func(t *testing.T) {
				n, v := 1, shape[len(shape)-1]
				for _, s := range shape {
					n *= s
				}
				x, dy := opstest.Round(dt.String(), opstest.Uniform(130, n, 8)), random(dt, 131, n)
				y, dx := softmax(t, dev, dt, shape, x, dy)
				if dt != ops.F32 { // the f32 result, rounded once
					y32, _ := softmax(t, dev, ops.F32, shape, x, dy)
					opstest.Close(t, y, opstest.Round(dt.String(), y32), 0)
				}
				// The gradient is made from y as it is stored.
				want := opstest.SoftmaxBackward64(y, dy, v)
				if e := opstest.RelL2(dx, want); e > tolerance(dt) && v > 1 {
					t.Errorf("gradient off by %.2g", e)
				}
				if dt == ops.F32 {
					if e := opstest.RelL2(y, opstest.Softmax64(x, v)); e > 1e-6 {
						t.Errorf("value off by %.2g", e)
					}
				}
			})
		}
	}
}

// The widest row, read in many pieces, with values of all sizes.
func TestSoftmaxWide(t *testing.T) {
	dev := vktest.Open(t)
	const v = 262144
	x, dy := opstest.Uniform(132, v, 3), opstest.Uniform(133, v, 1)
	y, dx := softmax(t, dev, ops.F32, []int{1, v}, x, dy)
	want := opstest.Softmax64(x, v)
	for i, w := range want {
		if e := opstest.RelErr(float64(y[i]), w); e > 1e-6 {
			t.Fatalf("[%d]: have %v, want %v", i, y[i], w)
		}
	}
	if e := opstest.RelL2(dx, opstest.SoftmaxBackward64(want, dy, v)); e > 1e-6 {
		t.Errorf("gradient off by %.2g", e)
	}
}

// Workgroups of many subgroups, and of none.
func TestSoftmaxAsOnAGPU(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, v := range []int{9, 9001} {
		x, dy := opstest.Uniform(144, 2*v, 8), random(ops.F32, 145, 2*v)
		want := opstest.Softmax64(x, v)
		for _, tune := range [][]func(g *ops.Graph){{ops.TuneGPU}, {ops.TuneGPU, ops.WithoutSubgroups}, {ops.WithoutSubgroups}} {
			y, dx := softmax(t, dev, ops.F32, []int{2, v}, x, dy, tune...)
			if e := opstest.RelL2(y, want); e > 1e-6 {
				t.Errorf("row of %d off by %.2g", v, e)
			}
			if e := opstest.RelL2(dx, opstest.SoftmaxBackward64(want, dy, v)); e > 1e-6 {
				t.Errorf("gradient of a row of %d off by %.2g", v, e)
			}
		}
	}
}

// Large values, -inf, and rows without a softmax, which keep to themselves and out of the padding.
func TestSoftmaxExtremes(t *testing.T) {
	dev := vktest.Open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	rows := [][]float32{
		{1e4, 1e4, -1e4, 0, 9999},
		{-1e4, -1e4, -1e4, -1e4, -10001},
		{-inf, 2, -inf, 3, -inf},
		{-inf, -inf, -inf, -inf, -inf},
		{1, 2, nan, 3, 4},
		{1, 2, inf, 3, 4},
		{0, 0, 0, 0, 0},
		{3e38, -3e38, 3e38, -inf, 0},
	}
	const v = 5
	var x, dy []float32
	for i, r := range rows {
		x, dy = append(x, r...), append(dy, random(ops.F32, uint32(134+i), v)...)
	}
	shape := []int{len(rows), v}
	in := tensor(t, dev, ops.F32, shape, x)
	g := ops.NewGraph(dev)
	g.RequireGrad(in)
	y := g.Softmax(in)
	g.Output(y)
	ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, shape, dy), false)
	dx := g.Grad(in)
	g.Output(dx)
	run(t, g)
	want := opstest.Softmax64(x, v)
	opstest.Close(t, values(t, y), want, 1e-6)
	opstest.Close(t, values(t, dx), opstest.SoftmaxBackward64(want, dy, v), 1e-6)
	for _, stored := range [][]float32{values(t, ops.Padded(y)), values(t, ops.Padded(dx))} {
		for i, e := range stored {
			if i%8 >= v && e != 0 {
				t.Errorf("padding %d of row %d is %v", i%8-v, i/8, e)
			}
		}
	}
}

// In place and with a parameter's gradient added to; the same bits in each run.
func TestSoftmaxInPlaceAndRepeated(t *testing.T) {
	dev := vktest.Open(t)
	const n, v = 3, 1234
	x, dy := random(ops.F32, 142, n*v), random(ops.F32, 143, n*v)
	p := ops.NewParams(dev, ops.F32)
	w := p.Add("w", n, v)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	if err := ops.Upload(ctx, w, x); err != nil {
		t.Fatal(err)
	}
	var before []float32
	for range 3 {
		g := ops.NewGraph(dev)
		g.Fill(p.Grad(w), 1)
		y := g.Softmax(g.Scale(w, 1))
		ops.BackwardFrom(g, y, g.Scale(tensor(t, dev, ops.F32, []int{n, v}, dy), 100), true)
		run(t, g)
		got := values(t, p.Grad(w))
		want := opstest.SoftmaxBackward64(opstest.Softmax64(x, v), dy, v)
		for i := range want {
			want[i] = 100*want[i] + 1
		}
		opstest.Close(t, got, want, 1e-6)
		if before != nil {
			opstest.Close(t, got, before, 0)
		}
		before = got
	}
}

func TestSoftmaxErrors(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.Softmax(nil) }, "ops: softmax: argument 0 is nil"},
		{func(g *ops.Graph) { g.Softmax(g.Input("", ops.I32, 2)) }, "ops: softmax: i32[2]: want a float type"},
		{func(g *ops.Graph) { g.Softmax(g.Input("", ops.F32)) }, "ops: softmax: f32[]: want a float type and a dimension"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at softmax_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
