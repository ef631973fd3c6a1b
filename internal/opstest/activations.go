package opstest

import "math"

// Activation is an activation function and its derivative in float64, by the formulas as they are written.
type Activation struct {
	Name     string
	F, Slope func(x float64) float64
}

// Activations lists the functions of one argument.
var Activations = []Activation{
	{"silu", silu, siluSlope},
	{"gelu", func(x float64) float64 {
		return x * normal(x)
	}, func(x float64) float64 {
		return normal(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	}},
	{"gelu_tanh", func(x float64) float64 {
		return x * logistic(2*tanhArgument(x))
	}, func(x float64) float64 {
		w := 2 * tanhArgument(x)
		return logistic(w) + x*logistic(w)*logistic(-w)*math.Sqrt(8/math.Pi)*(1+3*0.044715*x*x)
	}},
}

// Apply returns f of each value.
func Apply[F Float](f func(x float64) float64, x []F) []float64 {
	y := make([]float64, len(x))
	for i, e := range x {
		y[i] = f(float64(e))
	}
	return y
}

func silu(x float64) float64 { return x * logistic(x) }

func siluSlope(x float64) float64 { return logistic(x) * (1 + x*logistic(-x)) }

// logistic is 1/(1 + e^-x), which is (1 + tanh(x/2))/2 without the cancellation at negative x.
func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// normal is the normal distribution, (1 + erf(x/sqrt(2)))/2 without the cancellation at negative x.
func normal(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

func tanhArgument(x float64) float64 { return math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

// SwiGLU64 is the reference of y = silu(gate) up.
func SwiGLU64[F Float](gate, up []F) []float64 {
	y := Apply(silu, gate)
	for i := range y {
		y[i] *= float64(up[i])
	}
	return y
}

// SwiGLUBackward64 returns the gradients of a loss with respect to gate and up, given its gradient dy with respect to y.
func SwiGLUBackward64[F Float](gate, up, dy []F) (dgate, dup []float64) {
	dgate, dup = Apply(siluSlope, gate), Apply(silu, gate)
	for i := range dgate {
		dgate[i] *= float64(up[i]) * float64(dy[i])
		dup[i] *= float64(dy[i])
	}
	return dgate, dup
}
