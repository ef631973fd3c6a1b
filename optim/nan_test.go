package optim_test

import (
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// See the test of package ops with this name.
func TestNaNWhereNumbersArePreferred(t *testing.T) {
	vktest.PreferNumbers(t)
	t.Run("norm", TestSpec4NonFiniteNorm)
	t.Run("skip", TestSpecMixedPrecisionOverflowSkips)
	t.Run("moments", TestNaNMoment)
}

// A moment that is not a number, which no gradient makes it, does not pass for one: the value becomes NaN.
func TestNaNMoment(t *testing.T) {
	dev := vktest.Open(t)
	for _, rule := range []optim.Rule{optim.AdamW{}, optim.Lion{}, optim.SGD{}} {
		p := newParams(t, dev, ops.F32, []float32{1, 2, 3, 4})
		a := newOptimizer(t, p, &optim.Options{Rule: rule})
		setGrads(t, p, [][]float32{{1, 1, 1, 1}})
		must(t, ops.Upload(ctx, a.Slots(p.All()[0])[0].Tensor, []float32{0, 0, float32(math.NaN()), 0}))
		record(t, a, dev).run(t)
		for i, v := range download(t, p.All()[0]) {
			if (v != v) != (i == 2) {
				t.Errorf("%s: value %d is %v", rule.Name(), i, v)
			}
		}
	}
}
