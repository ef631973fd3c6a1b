package ops_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// functions are the operations of opstest.Functions, in that order.
var functions = []func(g *ops.Graph, x *ops.Tensor) *ops.Tensor{(*ops.Graph).ReLU, (*ops.Graph).ReLUSquared,
	(*ops.Graph).Sigmoid, (*ops.Graph).Tanh, (*ops.Graph).Exp, (*ops.Graph).Log}

// argument makes x, rounded to dt, one that the function accepts.
func argument(f opstest.Activation, dt ops.DType, x []float32) []float32 {
	if f.Name == "log" {
		for i := range x {
			x[i] = x[i]*x[i] + 0.01
		}
	}
	return opstest.Round(dt.String(), x)
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for i, f := range opstest.Functions {
		for _, dt := range floats {
			for _, shape := range [][]int{{}, {3, 7}, {2, 3, 5}, {9, 1000}} {
				n := 1
				for _, s := range shape {
					n *= s
				}
				x, dy := argument(f, dt, opstest.Uniform(163, n, 5)), random(dt, 164, n)
				y, dx := activate(t, dev, functions[i], dt, shape, x, dy)
				want, grad := opstest.Apply(f.F, x), opstest.Apply(f.Slope, x)
				for j := range grad {
					grad[j] *= float64(dy[j])
				}
				for what, e := range map[string]float64{"value": opstest.RelL2(y, want), "gradient": opstest.RelL2(dx, grad)} {
					if !(e <= tolerance(dt)) {
						t.Errorf("%s %s %v: %s off by %.2g", f.Name, dt, shape, what, e)
					}
				}
				if dt != ops.F32 { // the f32 result, rounded once
					y32, dx32 := activate(t, dev, functions[i], ops.F32, shape, x, dy)
					opstest.Close(t, y, opstest.Round(dt.String(), y32), 0)
					opstest.Close(t, dx, opstest.Round(dt.String(), dx32), 0)
				}
			}
		}
	}
}

// Every value keeps its relative accuracy: f over all of its range, tanh and log near their zeros.
func TestFunctionsAccuracyOfEachValue(t *testing.T) {
	dev := vktest.Open(t)
	const n, ulp = 4096, 0x1p-23
	x, ones := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], ones[i] = 86*(2*float32(i)+1)/n-86, 1 // -86 to 86
	}
	for i := range n / 8 { // and down to 1e-28, of both signs
		x[8*i] = float32(math.Copysign(math.Exp(-float64(i)/8), float64(x[8*i])))
		x[8*i+1] = float32(1 + math.Copysign(math.Exp(-float64(i)/30), float64(x[8*i]))/2) // around 1, for log
	}
	for i, f := range opstest.Functions {
		arguments := append([]float32(nil), x...)
		if f.Name == "log" {
			for j := range arguments {
				arguments[j] = float32(math.Abs(float64(arguments[j])))
			}
		}
		y, dx := activate(t, dev, functions[i], ops.F32, []int{n}, arguments, ones)
		var worst, worstSlope float64
		for j, v := range arguments {
			if value := f.F(float64(v)); math.Abs(value) > 1e-35 {
				worst = max(worst, opstest.RelErr(float64(y[j]), value))
			}
			if slope := f.Slope(float64(v)); math.Abs(slope) > 1e-35 {
				worstSlope = max(worstSlope, opstest.RelErr(float64(dx[j]), slope))
			}
		}
		t.Logf("%s: off by %.1f units, its slope by %.1f", f.Name, worst/ulp, worstSlope/ulp)
		if !(worst <= 5*ulp && worstSlope <= 10*ulp) {
			t.Errorf("%s: off by %.1f units in the last place, its slope by %.1f", f.Name, worst/ulp, worstSlope/ulp)
		}
	}
}

// Limits at infinity and far out, NaN for NaN.
func TestFunctionsExtremes(t *testing.T) {
	dev := vktest.Open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1e4, -1e4, inf, -inf, nan, 3e38, -3e38, 88.7, 88.8, -88, 2e-38, -2e-38}
	dy := make([]float32, len(x))
	for i := range dy {
		dy[i] = 2
	}
	for i, f := range opstest.Functions {
		for _, dt := range floats {
			rounded := opstest.Round(dt.String(), x)
			y, dx := activate(t, dev, functions[i], dt, []int{len(x)}, rounded, dy)
			for j, v := range rounded {
				value, slope := float32(f.F(float64(v))), float32(2*f.Slope(float64(v)))
				opstest.Close(t, y[j:j+1], opstest.Round(dt.String(), []float32{value}), 1e-5)
				opstest.Close(t, dx[j:j+1], opstest.Round(dt.String(), []float32{slope}), 1e-5)
				if t.Failed() {
					t.Fatalf("%s %s at %v", f.Name, dt, v)
				}
			}
		}
	}
}

// What a function makes of the padding of rows is not left there: sums count on zeros.
func TestFunctionsKeepPaddingZero(t *testing.T) {
	dev := vktest.Open(t)
	for i, f := range opstest.Functions {
		for _, dt := range floats {
			x := tensor(t, dev, dt, []int{3, 5}, argument(f, dt, opstest.Uniform(165, 15, 2)))
			g := ops.NewGraph(dev)
			g.RequireGrad(x)
			y := functions[i](g, x)
			ops.BackwardFrom(g, y, tensor(t, dev, dt, []int{3, 5}, random(dt, 166, 15)), false)
			for _, z := range []*ops.Tensor{y, g.Grad(x)} {
				g.Output(z)
			}
			run(t, g)
			for _, z := range []*ops.Tensor{y, g.Grad(x)} {
				for j, v := range values(t, ops.Padded(z)) {
					if j%8 >= 5 && v != 0 {
						t.Errorf("%s %s: %v behind the end of a row", f.Name, dt, v)
					}
				}
			}
		}
	}
}

func TestFunctionErrors(t *testing.T) {
	dev := vktest.Open(t)
	for i, f := range opstest.Functions {
		for want, x := range map[string]func(g *ops.Graph) *ops.Tensor{
			"argument 0 is nil":         func(g *ops.Graph) *ops.Tensor { return nil },
			"i32[2]: want a float type": func(g *ops.Graph) *ops.Tensor { return g.Input("", ops.I32, 2) },
		} {
			g := ops.NewGraph(dev)
			functions[i](g, x(g))
			if want = fmt.Sprintf("ops: %s: %s", f.Name, want); g.Err() == nil || !strings.Contains(g.Err().Error(), want) || !strings.Contains(g.Err().Error(), "(at unary_test.go:") {
				t.Errorf("error %v, want %q at this file", g.Err(), want)
			}
			g.Release()
		}
	}
}
