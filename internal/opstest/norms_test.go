package opstest

import (
	"fmt"
	"testing"
)

func TestNormGradientsAgainstFiniteDifferences(t *testing.T) {
	const n, eps = 3, 1e-2
	for _, d := range []int{2, 5} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			x, w, b := F64(Uniform(90, n*d, 2)), F64(Uniform(91, d, 2)), F64(Uniform(92, d, 2))
			dy := F64(Uniform(93, n*d, 1))
			dot := func(y []float64) (sum float64) {
				for i, e := range y {
					sum += e * dy[i]
				}
				return sum
			}
			check := func(name string, got, at []float64, f func(at []float64) []float64) {
				t.Helper()
				want := FiniteDifferences(func(at []float64) float64 { return dot(f(at)) }, at, 1e-4)
				if e := RelL2(got, want); e > 1e-6 {
					t.Errorf("%s differs from finite differences by %g", name, e)
				}
			}
			dx, dw := RMSNormBackward64(x, w, dy, eps)
			check("rms dx", dx, x, func(x []float64) []float64 { return RMSNorm64(x, w, eps) })
			check("rms dw", dw, w, func(w []float64) []float64 { return RMSNorm64(x, w, eps) })
			dx, dw, db := LayerNormBackward64(x, w, dy, eps)
			check("layer dx", dx, x, func(x []float64) []float64 { return LayerNorm64(x, w, b, eps) })
			check("layer dw", dw, w, func(w []float64) []float64 { return LayerNorm64(x, w, b, eps) })
			check("layer db", db, b, func(b []float64) []float64 { return LayerNorm64(x, w, b, eps) })
		})
	}
}
