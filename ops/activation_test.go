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

// activations are the operations of opstest.Activations, in that order.
var activations = []func(g *ops.Graph, x *ops.Tensor) *ops.Tensor{(*ops.Graph).SiLU, (*ops.Graph).GELU, (*ops.Graph).GELUTanh}

// activate returns f(x) and its gradient for the gradient dy of f.
func activate(t testing.TB, dev *vk.Device, f func(g *ops.Graph, x *ops.Tensor) *ops.Tensor, dt ops.DType, shape []int, x, dy []float32) (y, dx []float32) {
	t.Helper()
	in := tensor(t, dev, dt, shape, x)
	g := ops.NewGraph(dev)
	g.RequireGrad(in)
	out := f(g, in)
	g.Output(out)
	ops.BackwardFrom(g, out, tensor(t, dev, dt, shape, dy), false)
	g.Output(g.Grad(in))
	run(t, g)
	return values(t, out), values(t, g.Grad(in))
}

func TestActivations(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for i, a := range opstest.Activations {
		for _, dt := range floats {
			for _, shape := range [][]int{{}, {3, 7}, {2, 3, 5}, {9, 1000}} {
				t.Run(fmt.Sprint(a.Name, dt, shape), func(t *testing.T) {
					n := 1
					for _, s := range shape {
						n *= s
					}
					x, dy := opstest.Round(dt.String(), opstest.Uniform(110, n, 8)), random(dt, 111, n)
					y, dx := activate(t, dev, activations[i], dt, shape, x, dy)
					want, grad := opstest.Apply(a.F, x), opstest.Apply(a.Slope, x)
					for j := range grad {
						grad[j] *= float64(dy[j])
					}
					if dt != ops.F32 { // the f32 result, rounded once
						y32, dx32 := activate(t, dev, activations[i], ops.F32, shape, x, dy)
						opstest.Close(t, y, opstest.Round(dt.String(), y32), 0)
						opstest.Close(t, dx, opstest.Round(dt.String(), dx32), 0)
					}
					if e := opstest.RelL2(y, want); e > tolerance(dt) {
						t.Errorf("value off by %.2g", e)
					}
					if e := opstest.RelL2(dx, grad); e > tolerance(dt) {
						t.Errorf("gradient off by %.2g", e)
					}
				})
			}
		}
	}
}

// Every value keeps its relative accuracy, where f is tiny too. The argument of gelu_tanh's tanh is rounded, which costs
// as many units as it is large.
func TestActivationsAccuracyOfEachValue(t *testing.T) {
	dev := vktest.Open(t)
	const n, ulp = 4096, 0x1p-23
	x, ones := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], ones[i] = 13*(2*float32(i)+1)/n-13, 1 // -13 to 13
	}
	for i := range n / 8 { // and down to 1e-30, of both signs
		x[8*i] = float32(math.Copysign(math.Exp(-float64(i)/8), float64(x[8*i])))
	}
	for i, a := range opstest.Activations {
		y, dx := activate(t, dev, activations[i], ops.F32, []int{n}, x, ones)
		var worst, worstSlope float64
		for j := range x {
			w := 0.0
			if a.Name == "gelu_tanh" && x[j] < 0 {
				w = float64(-x[j] * (1.6 + 0.0714*x[j]*x[j]))
			}
			if want := a.F(float64(x[j])); math.Abs(want) > 1e-35 {
				worst = max(worst, opstest.RelErr(float64(y[j]), want)/(5+2*w))
			}
			// The slope has a zero, near which only its absolute error is small.
			want := a.Slope(float64(x[j]))
			worstSlope = max(worstSlope, math.Abs(float64(dx[j])-want)/(max(math.Abs(want), 0.1)*5))
		}
		t.Logf("%s: %.2f, slope %.2f of what is allowed", a.Name, worst/ulp, worstSlope/ulp)
		if worst > ulp || worstSlope > ulp {
			t.Errorf("%s: off by %.2g times what is allowed, its slope by %.2g", a.Name, worst/ulp, worstSlope/ulp)
		}
	}
}

// Limits at infinity and far out, NaN for NaN.
func TestActivationsExtremes(t *testing.T) {
	dev := vktest.Open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1e4, -1e4, inf, -inf, nan, 3e38, -3e38, 88, -88, 1e-38, -1e-38, 14.5, -14.5}
	dy := make([]float32, len(x))
	for i := range dy {
		dy[i] = 2
	}
	for i, a := range opstest.Activations {
		for _, dt := range floats {
			y, dx := activate(t, dev, activations[i], dt, []int{len(x)}, x, dy)
			for j, v := range opstest.Round(dt.String(), x) {
				value, slope := float32(a.F(float64(v))), 2*float32(a.Slope(float64(v)))
				switch {
				case v != v:
					value, slope = nan, nan
				case v > 20:
					value, slope = v, 2
				case v < -20:
					value, slope = 0, 0
				}
				opstest.Close(t, y[j:j+1], opstest.Round(dt.String(), []float32{value}), 1e-6)
				opstest.Close(t, dx[j:j+1], opstest.Round(dt.String(), []float32{slope}), 1e-6)
				if t.Failed() {
					t.Fatalf("%s %s at %v", a.Name, dt, v)
				}
			}
		}
	}
}

// swiglu returns silu(gate) up and the gradients that are wanted.
func swiglu(t testing.TB, dev *vk.Device, dt ops.DType, shape []int, gate, up, dy []float32) (y, dgate, dup []float32) {
	t.Helper()
	a, b := tensor(t, dev, dt, shape, gate), tensor(t, dev, dt, shape, up)
	g := ops.NewGraph(dev)
	g.RequireGrad(a)
	g.RequireGrad(b)
	out := g.SwiGLU(a, b)
	g.Output(out)
	ops.BackwardFrom(g, out, tensor(t, dev, dt, shape, dy), false)
	g.Output(g.Grad(a))
	g.Output(g.Grad(b))
	run(t, g)
	return values(t, out), values(t, g.Grad(a)), values(t, g.Grad(b))
}

func TestSwiGLU(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{1}, {3, 7}, {2, 3, 5}, {9, 1000}} {
			t.Run(fmt.Sprint(dt, shape), func(t *testing.T) {
				n := 1
				for _, s := range shape {
					n *= s
				}
				gate, up, dy := opstest.Round(dt.String(), opstest.Uniform(112, n, 8)), random(dt, 113, n), random(dt, 114, n)
				y, dgate, dup := swiglu(t, dev, dt, shape, gate, up, dy)
				if dt != ops.F32 { // the f32 result, rounded once
					y32, dgate32, dup32 := swiglu(t, dev, ops.F32, shape, gate, up, dy)
					opstest.Close(t, y, opstest.Round(dt.String(), y32), 0)
					opstest.Close(t, dgate, opstest.Round(dt.String(), dgate32), 0)
					opstest.Close(t, dup, opstest.Round(dt.String(), dup32), 0)
				}
				wantGate, wantUp := opstest.SwiGLUBackward64(gate, up, dy)
				for _, e := range []float64{opstest.RelL2(y, opstest.SwiGLU64(gate, up)), opstest.RelL2(dgate, wantGate), opstest.RelL2(dup, wantUp)} {
					if e > tolerance(dt) {
						t.Errorf("value or gradient off by %.2g", e)
					}
				}
			})
		}
	}
}

// The gradients of parameters are added to, those of a tensor used twice summed, and one that is not wanted is not made.
func TestSwiGLUGradientsAdd(t *testing.T) {
	dev := vktest.Open(t)
	const n = 10
	x, up, dy := random(ops.F32, 115, n), random(ops.F32, 116, n), random(ops.F32, 117, n)
	for _, accumulate := range []bool{false, true} {
		p := ops.NewParams(dev, ops.F32)
		w := p.Add("w", n)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		defer p.Release()
		if err := ops.Upload(ctx, w, x); err != nil {
			t.Fatal(err)
		}
		g := ops.NewGraph(dev)
		g.Fill(p.Grad(w), 3)
		plain := tensor(t, dev, ops.F32, []int{n}, up)
		y := g.Add(g.Add(g.SwiGLU(w, w), g.SiLU(w)), g.SwiGLU(plain, w))
		ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{n}, dy), accumulate)
		if g.Grad(plain) != nil {
			t.Error("a gradient nobody wants")
		}
		run(t, g)
		want := make([]float64, n)
		a, b := opstest.SwiGLUBackward64(x, x, dy)
		_, c := opstest.SwiGLUBackward64(up, x, dy)
		for i, s := range opstest.Apply(opstest.Activations[0].Slope, x) {
			want[i] = a[i] + b[i] + c[i] + s*float64(dy[i])
			if accumulate {
				want[i] += 3
			}
		}
		opstest.Close(t, values(t, p.Grad(w)), want, 1e-6)
	}
}

// Where nothing reads the input any more, the output takes its memory and a gradient that of the output's gradient.
func TestActivationsInPlace(t *testing.T) {
	dev := vktest.Open(t)
	const n = 1000
	x, dy := random(ops.F32, 118, n), random(ops.F32, 119, n)
	in := tensor(t, dev, ops.F32, []int{n}, x)
	g := ops.NewGraph(dev)
	g.RequireGrad(in)
	a := g.Scale(in, 1)
	b := g.SiLU(a)
	y := g.SwiGLU(b, b)
	ops.BackwardFrom(g, y, g.Scale(tensor(t, dev, ops.F32, []int{n}, dy), 1), false)
	g.Output(g.Grad(in))
	run(t, g)
	want, middle := opstest.Apply(opstest.Activations[0].F, x), opstest.Apply(opstest.Activations[0].Slope, x)
	dgate, dup := opstest.SwiGLUBackward64(want, want, opstest.F64(dy))
	for i := range want {
		want[i] = (dgate[i] + dup[i]) * middle[i]
	}
	opstest.Close(t, values(t, g.Grad(in)), want, 1e-6)

	g = ops.NewGraph(dev)
	a = g.Scale(in, 1)
	y = g.GELU(a)
	z := g.SwiGLU(y, in)
	g.Output(z)
	run(t, g)
	if !ops.Shares(a, y) || !ops.Shares(y, z) {
		t.Error("the outputs have memory of their own")
	}
	opstest.Close(t, values(t, z), opstest.SwiGLU64(opstest.Apply(opstest.Activations[1].F, x), opstest.F64(x)), 1e-6)
}

func TestActivationErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.SiLU(nil) }, "ops: silu: argument 0 is nil"},
		{func(g *ops.Graph) { g.GELU(g.Input("", ops.I32, 2)) }, "ops: gelu: i32[2]: want a float type"},
		{func(g *ops.Graph) { g.GELUTanh(g.Input("", ops.U16, 2)) }, "ops: gelu_tanh: u16[2]: want a float type"},
		{func(g *ops.Graph) { g.SwiGLU(f(g, 2, 3), f(g, 3, 2)) }, "ops: swiglu: gate f32[2 3], up f32[3 2]"},
		{func(g *ops.Graph) { g.SwiGLU(f(g, 2), g.Input("", ops.F16, 2)) }, "ops: swiglu: gate f32[2], up f16[2]"},
		{func(g *ops.Graph) { g.SwiGLU(g.Input("", ops.I32, 2), g.Input("", ops.I32, 2)) }, "ops: swiglu: gate i32[2]"},
		{func(g *ops.Graph) { g.SwiGLU(f(g, 2), nil) }, "ops: swiglu: argument 1 is nil"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at activation_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
