package ops_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// masked is a mask of a shape, (B or 1, H or 1, T, T) or its last dimensions, that hides two keys of five, all of the first
// query of each, and all but the last key of the second. It returns the tensor's values, added or of integers, and what they
// are to the reference.
func masked(s opstest.AttentionShape, shape []int, integers bool) (f32 []float32, ids []int32, reference []float64) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	f32, ids = opstest.Uniform(200, n, 3), make([]int32, n)
	for i := range f32 {
		t, j := i/s.Positions%s.Positions, i%s.Positions
		if i%5 < 2 && t > 1 || t == 0 || t == 1 && j+1 < s.Positions {
			f32[i] = float32(math.Inf(-1))
		} else {
			ids[i] = int32(1 + i%3)
		}
	}
	opstest.EachIndex([]int{s.Batch, s.Heads, s.Positions, s.Positions}, func(index []int) {
		at := opstest.Offset(shape, index)
		switch {
		case !integers:
			reference = append(reference, float64(f32[at]))
		case ids[at] == 0:
			reference = append(reference, math.Inf(-1))
		default:
			reference = append(reference, 0)
		}
	})
	return f32, ids, reference
}

// attentionRules are options of attention of a shape, with the reference's.
func attentionRules(t *testing.T, dt ops.DType, s opstest.AttentionShape, tensorOf func(dt ops.DType, shape []int, f32 []float32, ids []int32) *ops.Tensor) (names []string, options []*ops.AttentionOptions, rules []opstest.AttentionRule) {
	add := func(name string, o ops.AttentionOptions, r opstest.AttentionRule) {
		names, options, rules = append(names, name), append(options, &o), append(rules, r)
	}
	for _, window := range []int{2, 3, 33, 40, 1000} {
		add(fmt.Sprint("window ", window), ops.AttentionOptions{Window: window}, opstest.AttentionRule{Window: window})
	}
	add("cap", ops.AttentionOptions{SoftCap: 0.8}, opstest.AttentionRule{SoftCap: 0.8})
	add("cap and window", ops.AttentionOptions{SoftCap: 30, Window: 5}, opstest.AttentionRule{SoftCap: 30, Window: 5})
	n := s.Positions
	for i, shape := range [][]int{{n, n}, {s.Heads, n, n}, {s.Batch, 1, n, n}, {s.Batch, s.Heads, n, n}} {
		mt := []ops.DType{ops.F32, ops.U16, ops.F32, ops.I32}[i]
		f32, ids, reference := masked(s, shape, mt != ops.F32)
		mask := tensorOf(mt, shape, f32, ids)
		add(fmt.Sprint("mask ", mask), ops.AttentionOptions{Mask: mask}, opstest.AttentionRule{Mask: reference})
		if i == 0 {
			add(fmt.Sprint("cap and mask ", mask), ops.AttentionOptions{Mask: mask, SoftCap: 2}, opstest.AttentionRule{Mask: reference, SoftCap: 2})
		}
	}
	return names, options, rules
}

func TestAttentionOptions(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	tensorOf := func(dt ops.DType, shape []int, f32 []float32, ids []int32) *ops.Tensor {
		switch dt {
		case ops.F32:
			return tensor(t, dev, dt, shape, f32)
		case ops.U16:
			u16 := make([]uint16, len(ids))
			for i, id := range ids {
				u16[i] = uint16(id)
			}
			return tensor(t, dev, dt, shape, u16)
		}
		return tensor(t, dev, dt, shape, ids)
	}
	for _, s := range []opstest.AttentionShape{
		{Batch: 2, Positions: 67, Heads: 4, KVHeads: 2, Size: 15},
		{Batch: 1, Positions: 33, Heads: 1, KVHeads: 1, Size: 132},
	} {
		for _, dt := range floats {
			if dt != ops.F32 && s.Positions != 67 {
				continue
			}
			// Compiling is what takes the time: values differ much, kernels little.
			names, options, rules := attentionRules(t, dt, s, tensorOf)
			for i, o := range options {
				for _, shared := range []bool{false, true} {
					if s.Size > 128 && (shared || i%6 > 0) || dt != ops.F32 && i%6 != 0 {
						continue // heads of 132 go through shared memory whatever the device
					}
					t.Run(fmt.Sprint(s, dt, " ", names[i], " shared ", shared), func(t *testing.T) {
						attendBy(t, dev, dt, s, 1, shared, o, func(g *ops.Graph) { ops.UseCores(g, 1000*(i%2)) }).checkBy(t, attentionTolerance(dt), rules[i])
					})
				}
			}
		}
	}
}

// A window and a cap hold for caches too, in every kernel that reads them.
func TestAttentionOptionsWithCaches(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 2, Positions: 83, Heads: 4, KVHeads: 2, Size: 20}
	const capacity = 90
	for i, dt := range floats {
		for _, o := range []ops.AttentionOptions{{Window: 7}, {Window: 40}, {SoftCap: 1}, {Window: 12, SoftCap: 2}} {
			if i > 0 && o.SoftCap != 2 {
				continue
			}
			a := attendBy(t, dev, dt, s, 1, false, &o)
			cache := func(x []float32) *ops.Tensor {
				c := make([]float32, 0, s.Batch*capacity*s.KVHeads*s.Size)
				for b := range s.Batch {
					n := s.Positions * s.KVHeads * s.Size
					c = append(append(c, x[b*n:(b+1)*n]...), slices.Repeat([]float32{1e3}, (capacity-s.Positions)*s.KVHeads*s.Size)...)
				}
				return tensor(t, dev, dt, []int{s.Batch, capacity, s.KVHeads, s.Size}, c)
			}
			k, v := cache(a.k), cache(a.v)
			for _, n := range []int{1, 3, 9} {
				for _, shared := range []bool{false, true} {
					for _, at := range []int{0, 5, s.Positions - n} {
						g := ops.NewGraph(dev)
						if shared {
							ops.TuneGPU(g)
						}
						part := o
						part.Start = tensor(t, dev, ops.U32, []int{4}, []uint32{uint32(at), 0, 0, 0})
						y := g.Attention(tensor(t, dev, dt, []int{s.Batch, n, s.Heads, s.Size}, positions(a.q, s, s.Heads, at, n)), k, v, &part)
						g.Output(y)
						run(t, g).Close()
						if e := opstest.RelL2(values(t, y), positions(a.y, s, s.Heads, at, n)); !(e <= 2*tolerance(dt)) {
							t.Errorf("%s, window %d, cap %v, %d queries at %d, shared %v: relative error %.3g", dt, o.Window, o.SoftCap, n, at, shared, e)
						}
					}
				}
			}
		}
	}
}

// A window that holds everything, and a cap far above the logits, change nothing; the former not a bit.
func TestAttentionOptionsWithoutEffect(t *testing.T) {
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 1, Positions: 40, Heads: 2, KVHeads: 1, Size: 16}
	for _, shared := range []bool{false, true} {
		plain := attendBy(t, dev, ops.F32, s, 1, shared, nil)
		for tol, o := range map[float64]*ops.AttentionOptions{0: {Window: 40}, 1e-6: {SoftCap: 1e6}} {
			a := attendBy(t, dev, ops.F32, s, 1, shared, o)
			for i, x := range [][]float32{a.y, a.dq, a.dk, a.dv} {
				opstest.Close(t, x, [][]float32{plain.y, plain.dq, plain.dk, plain.dv}[i], tol)
			}
		}
	}
}

func TestAttentionOptionErrors(t *testing.T) {
	dev := vktest.Open(t)
	for want, o := range map[string]func(g *ops.Graph) *ops.AttentionOptions{
		"window of -1 keys": func(g *ops.Graph) *ops.AttentionOptions { return &ops.AttentionOptions{Window: -1} },
		"soft cap is 1e-50": func(g *ops.Graph) *ops.AttentionOptions { return &ops.AttentionOptions{SoftCap: 1e-50} },
		"soft cap is -2":    func(g *ops.Graph) *ops.AttentionOptions { return &ops.AttentionOptions{SoftCap: -2} },
		"soft cap is NaN":   func(g *ops.Graph) *ops.AttentionOptions { return &ops.AttentionOptions{SoftCap: math.NaN()} },
		"soft cap is +Inf":  func(g *ops.Graph) *ops.AttentionOptions { return &ops.AttentionOptions{SoftCap: math.Inf(1)} },
		"mask bf16[3 3]: want f32 or an": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Mask: g.Input("", ops.BF16, 3, 3)}
		},
		"mask f32[3 4] for q": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Mask: g.Input("", ops.F32, 3, 4)}
		},
		"mask f32[1 3] for q": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Mask: g.Input("", ops.F32, 1, 3)}
		},
		"mask f32[3] for q": func(g *ops.Graph) *ops.AttentionOptions { return &ops.AttentionOptions{Mask: g.Input("", ops.F32, 3)} },
		"mask f32[2 3 3] for q": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Mask: g.Input("", ops.F32, 2, 3, 3)}
		},
		"mask f32[1 1 4 3 3] for q": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Mask: g.Input("", ops.F32, 1, 1, 4, 3, 3)}
		},
		"a mask with a window": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Window: 2, Mask: g.Input("", ops.F32, 3, 3)}
		},
		"a mask with Start": func(g *ops.Graph) *ops.AttentionOptions {
			return &ops.AttentionOptions{Start: g.Input("", ops.U32, 4), Mask: g.Input("", ops.F32, 3, 3)}
		},
		"has a gradient, which can't flow back": func(g *ops.Graph) *ops.AttentionOptions {
			m := g.Input("", ops.F32, 3, 3)
			g.RequireGrad(m)
			return &ops.AttentionOptions{Mask: m}
		},
	} {
		g := ops.NewGraph(dev)
		x := g.Input("x", ops.F32, 1, 3, 4, 8)
		g.Attention(x, x, x, o(g))
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "(at attention_options_test.go:") {
			t.Errorf("error %v, want %q at this file", err, want)
		}
		g.Release()
	}
}
