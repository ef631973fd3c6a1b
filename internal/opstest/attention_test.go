package opstest

import (
	"math"
	"testing"
)

// One head of one value, two positions: the second weighs both values by the logistic function.
func TestAttentionByHand(t *testing.T) {
	y := Attention64([]float64{5, 2}, []float64{1, 3}, []float64{10, 20}, AttentionShape{1, 2, 1, 1, 1})
	Close(t, y, []float64{10, 10 + 10/(1+math.Exp(2*1-2*3))}, 1e-14)
}

func TestAttentionGradientAgainstFiniteDifferences(t *testing.T) {
	for _, s := range []AttentionShape{{2, 3, 4, 2, 3}, {1, 5, 3, 1, 2}, {1, 1, 2, 2, 4}} {
		q, dy := F64(Uniform(120, s.Queries(), 2)), F64(Uniform(121, s.Queries(), 1))
		k, v := F64(Uniform(122, s.Keys(), 2)), F64(Uniform(123, s.Keys(), 2))
		mask := F64(Uniform(124, s.Batch*s.Heads*s.Positions*s.Positions, 2))
		for i := range mask {
			if mask[i] > 1 || i < s.Positions { // the first query sees nothing
				mask[i] = math.Inf(-1)
			}
		}
		for _, r := range []AttentionRule{{}, {Window: 2}, {SoftCap: 1.5}, {Mask: mask}, {Mask: mask, SoftCap: 0.7}} {
			loss := func(q, k, v []float64) (sum float64) {
				for i, e := range AttentionBy64(q, k, v, s, r) {
					sum += e * dy[i]
				}
				return sum
			}
			dq, dk, dv := AttentionBackwardBy64(q, k, v, dy, s, r)
			Close(t, dq, FiniteDifferences(func(q []float64) float64 { return loss(q, k, v) }, q, 1e-4), 1e-7)
			Close(t, dk, FiniteDifferences(func(k []float64) float64 { return loss(q, k, v) }, k, 1e-4), 1e-7)
			Close(t, dv, FiniteDifferences(func(v []float64) float64 { return loss(q, k, v) }, v, 1e-4), 1e-7)
		}
	}
}
