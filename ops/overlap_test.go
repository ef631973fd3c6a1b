package ops_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// TestInEpochsRandom orders random calls: each comes once, in no epoch are two that conflict, conflicting ones keep their
// order, none goes ahead that begins too much, and there are never more epochs than before, mostly fewer.
func TestInEpochsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	conflict := func(a, b []ops.Touch) bool {
		return slices.ContainsFunc(a, func(x ops.Touch) bool {
			return slices.ContainsFunc(b, func(y ops.Touch) bool {
				return x.Memory == y.Memory && (x.Writes || y.Writes) && x.From < y.To && y.From < x.To
			})
		})
	}
	const limit = 10
	fewer, total := 0, 0
	for range 500 {
		calls, begins := make([][]ops.Touch, 1+r.IntN(60)), []int64{}
		for i := range calls {
			for range 1 + r.IntN(3) {
				from := r.Int64N(8)
				calls[i] = append(calls[i], ops.Touch{Memory: r.IntN(12), From: from, To: from + 1 + r.Int64N(8), Writes: r.IntN(3) == 0})
			}
			begins = append(begins, r.Int64N(2*limit))
		}
		epochs := ops.InEpochs(calls, begins, limit)
		var order []int
		at := make([]int, len(calls))
		for e, group := range epochs {
			for n, i := range group {
				for _, j := range group[:n] {
					if conflict(calls[i], calls[j]) {
						t.Fatalf("calls %d and %d conflict in epoch %d", i, j, e)
					}
				}
				at[i] = e
			}
			order = append(order, group...)
		}
		if sorted := slices.Sorted(slices.Values(order)); len(order) != len(calls) || slices.Compact(sorted)[len(calls)-1] != len(calls)-1 {
			t.Fatalf("%d calls in the order %v", len(calls), order)
		}
		for i := range calls {
			for j := range i {
				if conflict(calls[i], calls[j]) && at[j] >= at[i] {
					t.Fatalf("call %d in epoch %d, %d, which it waits for, in epoch %d", i, at[i], j, at[j])
				}
				if begins[i] > limit && at[i] < at[j] {
					t.Fatalf("call %d begins %d bytes and went ahead of %d", i, begins[i], j)
				}
			}
		}
		before, start := 1, 0
		for i := range calls {
			if slices.ContainsFunc(calls[start:i], func(c []ops.Touch) bool { return conflict(c, calls[i]) }) {
				before, start = before+1, i
			}
		}
		if len(epochs) > before {
			t.Fatalf("%d epochs, %d in the order of the calls", len(epochs), before)
		}
		total, fewer = total+before, fewer+before-len(epochs)
	}
	if fewer < total/20 {
		t.Errorf("%d epochs fewer of %d", fewer, total)
	}
}

// Sums in two levels of independent tensors take two barriers, one before each level, however many there are; their memory is
// not used twice in one of these.
func TestSumsOverlap(t *testing.T) {
	dev := vktest.Open(t)
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			g := ops.NewGraph(dev)
			var outs []*ops.Tensor
			for i := range n {
				x := tensor(t, dev, ops.F32, []int{300, 5}, random(ops.F32, uint32(100+i), 1500))
				y := tensor(t, dev, ops.F32, []int{5}, make([]float32, 5))
				ops.ColumnSum(g, g.Scale(x, 2), y, false)
				outs = append(outs, y)
			}
			s := run(t, g)
			if st := s.Stats(); st.Dispatches != 3*n || st.Barriers != 2 {
				t.Errorf("%+v, want %d dispatches and 2 barriers", st, 3*n)
			}
			for i, y := range outs {
				x, want := random(ops.F32, uint32(100+i), 1500), make([]float64, 5)
				for j, v := range x {
					want[j%5] += 2 * float64(v)
				}
				for j, got := range values(t, y) {
					if d := float64(got) - want[j]; d > 1e-4 || d < -1e-4 {
						t.Errorf("sum %d of %d is %v, want %v", j, i, got, want[j])
					}
				}
			}
		})
	}
}
