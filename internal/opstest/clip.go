package opstest

import (
	"math"
	"slices"
	"testing"
)

// Norm64 is the reference of the global L2 norm: the square root of the sum of the squares of all tensors. Values must be
// those of float32, whose squares float64 holds. Runs of 1024 are summed first, which keeps the rounding of long sums small.
func Norm64[F Float](grads ...[]F) float64 {
	sum := 0.0
	for _, g := range grads {
		for run := range slices.Chunk(g, 1024) {
			part := 0.0
			for _, e := range run {
				part += float64(e) * float64(e)
			}
			sum += part
		}
	}
	return math.Sqrt(sum)
}

// ClipScale64 is the reference of the factor that clips gradients of a norm to limit.
func ClipScale64(norm, limit float64) float64 {
	if norm > limit {
		return limit / (norm + 1e-6)
	}
	return 1
}

// ClipCase is a golden case of the norm and of clipping to several limits.
type ClipCase struct {
	Name    string     `json:"name"`
	Norm    float64    `json:"norm"`
	Clips   []ClipWant `json:"clips"`
	Tensors []vector   `json:"tensors"` // read through the method Grads
}

// ClipWant is the factor of the gradients, and the gradients after it, concatenated, when clipped to MaxNorm. A Scale of 1
// leaves the gradients' bits alone.
type ClipWant struct {
	MaxNorm float64 `json:"max_norm"`
	Scale   float64 `json:"scale"`
	Grad    Golden  `json:"grad"`
}

// ClipCases returns the golden cases of optim/testdata/clip.json.
func ClipCases(t testing.TB) []ClipCase {
	t.Helper()
	return load[ClipCase](t, "optim", "testdata", "clip.json")
}

// String returns a name for a subtest.
func (c ClipCase) String() string { return c.Name }

// Grads returns the gradients, one slice for each tensor.
func (c ClipCase) Grads() [][]float32 {
	grads := make([][]float32, len(c.Tensors))
	for j, d := range c.Tensors {
		grads[j] = d.make(d.N, "f32")
	}
	return grads
}
