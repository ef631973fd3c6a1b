package opstest

import "math"

// Softmax64 is the reference of the softmax of rows of v values: y[j] = exp(x[j]-M) / sum exp(x-M), M = max x.
func Softmax64[F Float](x []F, v int) []float64 {
	y := make([]float64, len(x))
	for start := 0; start < len(x); start += v {
		largest, sum := math.Inf(-1), 0.0
		for _, e := range x[start : start+v] {
			largest = math.Max(largest, float64(e))
		}
		for j := start; j < start+v; j++ {
			y[j] = math.Exp(float64(x[j]) - largest)
			sum += y[j]
		}
		for j := start; j < start+v; j++ {
			y[j] /= sum
		}
	}
	return y
}

// SoftmaxBackward64 returns the gradient of a loss with respect to x, given y and the loss's gradient dy with respect to y:
// dx = y (dy - sum y dy).
func SoftmaxBackward64[F, G Float](y []F, dy []G, v int) []float64 {
	dx := make([]float64, len(y))
	for start := 0; start < len(y); start += v {
		mean := 0.0
		for j := start; j < start+v; j++ {
			mean += float64(y[j]) * float64(dy[j])
		}
		for j := start; j < start+v; j++ {
			dx[j] = float64(y[j]) * (float64(dy[j]) - mean)
		}
	}
	return dx
}
