package optim_test

import (
	"math"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// A set of parameters above what the device gives at once is several arenas,
// and the update is the same to the last bit.
func TestUpdateOfSeveralArenas(t *testing.T) {
	const sets, n = 5, 1_500_004
	update := func(t *testing.T, dev *vk.Device, dt ops.DType) (arenas int, norm float64, values [][]float32) {
		inits := make([][]float32, sets)
		for i := range inits {
			inits[i] = opstest.Uniform(uint32(i), n, 1)
		}
		p := newParams(t, dev, dt, inits...)
		for i, x := range p.All() {
			must(t, ops.Upload(ctx, p.Grad(x), opstest.Uniform(uint32(10+i), n, 1)))
		}
		a := newOptimizer(t, p, nil)
		u := record(t, a, dev)
		for range 2 {
			u.run(t)
		}
		norm, err := u.Norm(ctx)
		must(t, err)
		for _, x := range p.All() {
			v := make([]float32, n)
			must(t, ops.Download(ctx, x, v))
			values = append(values, v)
		}
		return len(p.Banks()), norm, values
	}
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		t.Run(dt.String(), func(t *testing.T) {
			_, wantNorm, want := update(t, vktest.Open(t), dt)
			vktest.Limit(t, vktest.Limits{Allocation: 16 << 20})
			arenas, norm, got := update(t, vktest.Open(t), dt)
			if arenas != 3 {
				t.Errorf("%d arenas, want 3 with two tensors of 6 MB at most", arenas)
			}
			// As many workgroups add up each arena as one: the order of the sum is another.
			if math.Abs(norm-wantNorm) > 0x1p-22*wantNorm {
				t.Errorf("norm %v in several arenas, %v in one", norm, wantNorm)
			}
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("parameter %d differs", i)
				}
			}
		})
	}
}
