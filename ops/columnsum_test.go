package ops_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

func TestColumnSum(t *testing.T) {
	dev := vktest.Open(t)
	for _, types := range [][2]ops.DType{{ops.F32, ops.F32}, {ops.F16, ops.F16}, {ops.BF16, ops.BF16},
		{ops.F32, ops.F16}, {ops.F32, ops.BF16}, {ops.F16, ops.F32}, {ops.BF16, ops.F32}} {
		from, to := types[0], types[1]
		for _, shape := range [][]int{{5}, {1, 1}, {7, 3}, {2, 64, 9}, {129, 6}, {3, 43, 8}, {128*128 + 5, 2}} {
			for _, add := range []bool{false, true} {
				t.Run(fmt.Sprint(from, to, shape, add), func(t *testing.T) {
					n, d := 1, shape[len(shape)-1]
					for _, s := range shape {
						n *= s
					}
					xv, old := random(from, 40, n), random(to, 41, d)
					x, y := tensor(t, dev, from, shape, xv), tensor(t, dev, to, []int{d}, old)
					g := ops.NewGraph(dev)
					ops.ColumnSum(g, x, y, add)
					run(t, g)
					want := opstest.ColumnSum64(xv, d)
					for i := range want {
						if add {
							want[i] += float64(old[i])
						}
					}
					tol := 1e-6
					if to != ops.F32 {
						tol = 1.01 * opstest.Epsilon(to.String())
					}
					if e := opstest.RelL2(values(t, y), want); e > tol {
						t.Errorf("relative error %g, want %g at most", e, tol)
					}
				})
			}
		}
	}
}

func TestColumnSumErrors(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		x, y []int
		xt   ops.DType
		yt   ops.DType
		want string
	}{
		{[]int{4, 3}, []int{4}, ops.F32, ops.F32, "column sum: f32[4 3] to f32[4]: want a value for each column"},
		{[]int{4, 3}, []int{2, 3}, ops.F32, ops.F32, "a value for each column"},
		{[]int{4, 3}, []int{3}, ops.F16, ops.BF16, "f16[4 3] to bf16[3]: want one float type"},
		{[]int{4, 3}, []int{3}, ops.I32, ops.F32, "want one float type"},
	} {
		g := ops.NewGraph(dev)
		ops.ColumnSum(g, g.Input("", c.xt, c.x...), g.Input("", c.yt, c.y...), false)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		g.Release()
	}
}
