package opstest

import (
	"math"
	"testing"
)

func TestActivationSlopesAgainstFiniteDifferences(t *testing.T) {
	for _, a := range Activations {
		x := F64(Uniform(90, 200, 7))
		want := make([]float64, len(x))
		for i := range x {
			want[i] = FiniteDifferences(func(x []float64) float64 { return a.F(x[0]) }, x[i:i+1], 1e-4)[0]
		}
		if e := RelL2(Apply(a.Slope, x), want); e > 1e-7 {
			t.Errorf("%s: slope differs from finite differences by %g", a.Name, e)
		}
	}
}

// The references are written without cancellation; where there is little, they are the textbook's formulas.
func TestActivationsAgainstTextbook(t *testing.T) {
	x := F64(Uniform(91, 200, 3))
	for i, f := range []func(x float64) float64{
		func(x float64) float64 { return x / (1 + math.Exp(-x)) },
		func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) },
		func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
	} {
		Close(t, Apply(Activations[i].F, x), Apply(f, x), 1e-14)
	}
}

func TestSwiGLUGradientAgainstFiniteDifferences(t *testing.T) {
	const n = 20
	gate, up, dy := F64(Uniform(92, n, 5)), F64(Uniform(93, n, 2)), F64(Uniform(94, n, 1))
	loss := func(gate, up []float64) (sum float64) {
		for i, e := range SwiGLU64(gate, up) {
			sum += e * dy[i]
		}
		return sum
	}
	dgate, dup := SwiGLUBackward64(gate, up, dy)
	Close(t, dgate, FiniteDifferences(func(gate []float64) float64 { return loss(gate, up) }, gate, 1e-4), 1e-7)
	Close(t, dup, FiniteDifferences(func(up []float64) float64 { return loss(gate, up) }, up, 0.5), exact)
}
