package opstest

import (
	"fmt"
	"math"
	"testing"
)

// exact is the tolerance of one float64 computation against another.
const exact = 1e-12

func TestCrossEntropyAgreesWithPyTorch(t *testing.T) {
	for _, c := range CrossEntropyCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			r := CrossEntropy64(c.Logits(), c.Targets(), c.V(), c.Options)
			if e := RelErr(r.Loss, c.Loss()); e > exact {
				t.Errorf("loss %v, want %v (relative error %g)", r.Loss, c.Loss(), e)
			}
			CheckEach(t, "rows", r.Rows, c.Rows, exact)
			CheckL2(t, "gradient", r.Grad, c.Grad, exact)
		})
	}
}

func TestCrossEntropyGradientAgainstFiniteDifferences(t *testing.T) {
	const v = 9
	ignore := int32(4)
	x := F64(Uniform(80, 5*v, 3))
	targets := []int32{0, 4, 8, 3, 3}
	for i, o := range []CrossEntropyOptions{
		{}, {Ignore: &ignore}, {Smoothing: 0.1}, {ZLoss: 0.01}, {Scale: 8},
		{Ignore: &ignore, Smoothing: 0.3, ZLoss: 0.1, Scale: 0.5},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			loss := func(x []float64) float64 { return o.scale() * CrossEntropy64(x, targets, v, o).Loss }
			want := FiniteDifferences(loss, x, 1e-4)
			if e := RelL2(CrossEntropy64(x, targets, v, o).Grad, want); e > 1e-7 {
				t.Errorf("gradient differs from finite differences by %g", e)
			}
		})
	}
}

func TestCrossEntropyWithoutValidRowIsNaN(t *testing.T) {
	ignore := int32(-100)
	r := CrossEntropy64([]float64{1, 2}, []int32{-100}, 2, CrossEntropyOptions{Ignore: &ignore})
	if !math.IsNaN(r.Loss) || r.Valid != 0 || r.Rows[0] != 0 || r.Grad[0] != 0 || r.Grad[1] != 0 {
		t.Errorf("all rows ignored: %+v", r)
	}
}
