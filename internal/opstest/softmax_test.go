package opstest

import (
	"math"
	"testing"
)

func TestSoftmaxGradientAgainstFiniteDifferences(t *testing.T) {
	const n, v = 3, 7
	x, dy := F64(Uniform(95, n*v, 3)), F64(Uniform(96, n*v, 1))
	loss := func(x []float64) (sum float64) {
		for i, e := range Softmax64(x, v) {
			sum += e * dy[i]
		}
		return sum
	}
	Close(t, SoftmaxBackward64(Softmax64(x, v), dy, v), FiniteDifferences(loss, x, 1e-4), 1e-8)
}

func TestSoftmaxSumsToOne(t *testing.T) {
	y := Softmax64([]float64{1e4, 1e4, math.Inf(-1), 0, math.Log(3), math.Inf(-1)}, 3)
	Close(t, y, []float64{0.5, 0.5, 0, 0.25, 0.75, 0}, exact)
}
