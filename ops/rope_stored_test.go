package ops_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// RoPE and both caches in one pass have the bits of three, at the end of the caches too.
func TestRoPEStored(t *testing.T) {
	dev := vktest.Open(t)
	const b, n, h, k, capacity = 2, 5, 6, 2, 11
	for _, size := range []int{6, 16} {
		for _, halves := range []bool{false, true} {
			for _, dt := range floats {
				for _, first := range []uint32{0, 3, capacity - 2, capacity + 9} {
					t.Run(fmt.Sprint(size, halves, dt, first), func(t *testing.T) {
						x := tensor(t, dev, dt, []int{b, n, h + 2*k, size}, random(dt, 97, b*n*(h+2*k)*size))
						start := tensor(t, dev, ops.U32, []int{4}, []uint32{first, 7, 7, 7})
						o := &ops.RoPEOptions{HalfSplit: halves, Start: start, Positions: capacity}
						old := random(dt, 98, b*capacity*k*size)
						results := func(build func(g *ops.Graph, keys, cached *ops.Tensor) *ops.Tensor) [][]float32 {
							keys, cached := tensor(t, dev, dt, []int{b, capacity, k, size}, old), tensor(t, dev, dt, []int{b, capacity, k, size}, old)
							g := ops.NewGraph(dev)
							q := ops.Padded(build(g, keys, cached))
							g.Output(q)
							run(t, g)
							return [][]float32{values(t, q), values(t, ops.Padded(keys)), values(t, ops.Padded(cached))}
						}
						got := results(func(g *ops.Graph, keys, cached *ops.Tensor) *ops.Tensor { return g.RoPEStored(keys, cached, x, o) })
						want := results(func(g *ops.Graph, keys, cached *ops.Tensor) *ops.Tensor {
							all := g.RoPE(x, &ops.RoPEOptions{HalfSplit: halves, Start: start, Positions: capacity, Heads: h + k})
							g.StorePacked(keys, cached, all, start)
							return g.Slice(all, 2, 0, h)
						})
						for i := range want {
							if !slices.EqualFunc(got[i], want[i], sameBits) {
								t.Errorf("%s differ", []string{"queries", "keys", "values"}[i])
							}
						}
						if first == 3 && slices.Equal(got[1], got[2]) {
							t.Error("keys are values")
						}
					})
				}
			}
		}
	}
}

func TestRoPEStoredErrors(t *testing.T) {
	dev := vktest.Open(t)
	x := func(b, n, h, s int) *ops.Tensor {
		return tensor(t, dev, ops.F32, []int{b, n, h, s}, make([]float32, b*n*h*s))
	}
	start := tensor(t, dev, ops.U32, []int{4}, []uint32{0, 0, 0, 0})
	for want, f := range map[string]func(g *ops.Graph){
		"without Start": func(g *ops.Graph) { g.RoPEStored(x(1, 8, 1, 4), x(1, 8, 1, 4), x(1, 2, 6, 4), nil) },
		"with Heads": func(g *ops.Graph) {
			g.RoPEStored(x(1, 8, 1, 4), x(1, 8, 1, 4), x(1, 2, 6, 4), &ops.RoPEOptions{Start: start, Positions: 8, Heads: 3})
		},
		"caches of one shape": func(g *ops.Graph) {
			g.RoPEStored(x(1, 8, 1, 4), x(1, 8, 2, 4), x(1, 2, 6, 4), &ops.RoPEOptions{Start: start, Positions: 8})
		},
		"shapes differ": func(g *ops.Graph) {
			g.RoPEStored(x(1, 8, 3, 4), x(1, 8, 3, 4), x(1, 2, 6, 4), &ops.RoPEOptions{Start: start, Positions: 8})
		},
		"Positions is 1, want at least 2": func(g *ops.Graph) {
			g.RoPEStored(x(1, 8, 1, 4), x(1, 8, 1, 4), x(1, 2, 6, 4), &ops.RoPEOptions{Start: start, Positions: 1})
		},
	} {
		g := ops.NewGraph(dev)
		f(g)
		wantError(t, want, g.Err(), want)
	}
}
