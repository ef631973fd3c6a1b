package opstest

import "testing"

// The gradient of a rotation is the rotation back.
func TestRoPEGradientAgainstFiniteDifferences(t *testing.T) {
	const n, h, s = 2, 2, 8
	x, dy := F64(Uniform(73, n*h*s, 1)), F64(Uniform(74, n*h*s, 1))
	for _, halfSplit := range []bool{false, true} {
		want := FiniteDifferences(func(x []float64) (sum float64) {
			for i, e := range RoPE64(x, n, h, s, 3, 10, halfSplit, 1) {
				sum += e * dy[i]
			}
			return sum
		}, x, 1e-4)
		if e := RelL2(RoPE64(dy, n, h, s, 3, 10, halfSplit, -1), want); e > 1e-9 {
			t.Errorf("half-split %v: the gradient differs from finite differences by %g", halfSplit, e)
		}
	}
}
