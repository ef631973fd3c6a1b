package ops_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// tower is a residual network of a few layers, with what the tests compare.
type tower struct {
	params *ops.Params
	layers []*ops.Tensor // (D, D) each
	head   *ops.Tensor   // (V, D)
}

const towerLayers, towerRows, towerWidth, towerVocab = 6, 10, 18, 7

func newTower(t *testing.T, dev *vk.Device, dt ops.DType) *tower {
	t.Helper()
	w := &tower{params: ops.NewParams(dev, dt)}
	for i := range towerLayers {
		w.layers = append(w.layers, w.params.Add(fmt.Sprint("layer", i), towerWidth, towerWidth))
	}
	w.head = w.params.Add("head", towerVocab, towerWidth)
	if err := w.params.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.params.Release)
	for i, p := range w.params.All() {
		if err := ops.Upload(ctx, p, random(dt, uint32(20+i), p.Len())); err != nil {
			t.Fatal(err)
		}
		if err := ops.Upload(ctx, w.params.Grad(p), random(dt, uint32(40+i), p.Len())); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// block is x + 0.01·(x·w)·wᵀ, so that w has two shares of its gradient.
func (w *tower) block(g *ops.Graph, i int, x *ops.Tensor) *ops.Tensor {
	h := g.Scale(g.MatMul(x, w.layers[i]), 0.01)
	return g.Add(x, g.MatMulNT(h, w.layers[i]))
}

// all applies the blocks; each and nested do so under Recompute.
func (w *tower) all(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	for i := range w.layers {
		x = w.block(g, i, x)
	}
	return x
}

func (w *tower) each(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	for i := range w.layers {
		x = g.Recompute(x, func(x *ops.Tensor) *ops.Tensor { return w.block(g, i, x) })
	}
	return x
}

func (w *tower) nested(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	for i := 0; i < len(w.layers); i += 2 {
		x = g.Recompute(x, func(x *ops.Tensor) *ops.Tensor {
			x = g.Recompute(x, func(x *ops.Tensor) *ops.Tensor { return w.block(g, i, x) })
			return w.block(g, i+1, x)
		})
	}
	return x
}

// gradients returns the loss and all gradients of a new tower, and the size of
// the arena.
func gradients(t *testing.T, dev *vk.Device, dt ops.DType, accumulate, wantX bool, blocks func(*tower, *ops.Graph, *ops.Tensor) *ops.Tensor) (got [][]float32, arena int64) {
	t.Helper()
	w, g := newTower(t, dev, dt), ops.NewGraph(dev)
	x, y := g.Input("x", dt, towerRows, towerWidth), g.Input("y", ops.I32, towerRows)
	if wantX {
		g.RequireGrad(x)
	}
	loss := g.CrossEntropy(g.MatMulNT(blocks(w, g, g.Scale(x, 2)), w.head), y, nil)
	g.Backward(loss, &ops.BackwardOptions{Accumulate: accumulate})
	g.Output(loss)
	if wantX {
		g.Output(g.Grad(x))
	}
	if err := ops.Upload(ctx, x, random(dt, 1, x.Len())); err != nil {
		t.Fatal(err)
	}
	if err := ops.Upload(ctx, y, []int32{0, 6, 3, 2, 2, 1, 5, 4, 0, 6}); err != nil {
		t.Fatal(err)
	}
	s := run(t, g)
	got = append(got, values(t, loss))
	if wantX {
		got = append(got, values(t, g.Grad(x)))
	}
	for _, p := range w.params.All() {
		got = append(got, values(t, w.params.Grad(p)))
	}
	return got, s.Stats().ArenaBytes
}

func TestRecomputeHasTheSameBitsInLessMemory(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		// Without a gradient of x the parameters alone make the blocks wanted.
		for _, accumulate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s accumulate %v", dt, accumulate), func(t *testing.T) {
				want, most := gradients(t, dev, dt, accumulate, accumulate, (*tower).all)
				for name, blocks := range map[string]func(*tower, *ops.Graph, *ops.Tensor) *ops.Tensor{"each block": (*tower).each, "nested": (*tower).nested} {
					got, arena := gradients(t, dev, dt, accumulate, accumulate, blocks)
					for i := range want {
						if !slices.Equal(got[i], want[i]) {
							t.Errorf("%s: result %d differs from that without Recompute", name, i)
						}
					}
					if arena >= most {
						t.Errorf("%s: an arena of %d bytes, %d without Recompute", name, arena, most)
					}
				}
			})
		}
	}
}

func TestRecomputeErrors(t *testing.T) {
	dev := vktest.Open(t)
	w := newTower(t, dev, ops.F32)
	for want, build := range map[string]func(g *ops.Graph, x *ops.Tensor) *ops.Tensor{
		"made inside Recompute": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			var inside *ops.Tensor
			y := g.Recompute(x, func(x *ops.Tensor) *ops.Tensor {
				inside = g.MatMul(x, w.layers[0])
				return g.MatMul(inside, w.layers[1])
			})
			return g.Add(y, inside)
		},
		"recorded 2 operations, then 1": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			runs := 0
			return g.Recompute(x, func(x *ops.Tensor) *ops.Tensor {
				if runs++; runs == 1 {
					x = g.MatMul(x, w.layers[0])
				}
				return g.MatMul(x, w.layers[0])
			})
		},
		"the function's scale (at recompute_test.go:": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			runs := float32(0)
			return g.Recompute(x, func(x *ops.Tensor) *ops.Tensor {
				runs++
				return g.Scale(g.MatMul(x, w.layers[0]), runs)
			})
		},
		"the function's matmul (at recompute_test.go:": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			runs := 0
			return g.Recompute(x, func(x *ops.Tensor) *ops.Tensor {
				runs++
				return g.MatMul(x, w.layers[runs-1])
			})
		},
		"the function's add (at recompute_test.go:": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			h := g.MatMul(x, w.layers[0])
			for range 2 { // the second time h is what the loop has left in it
				h = g.Recompute(h, func(x *ops.Tensor) *ops.Tensor { return g.Add(g.MatMul(x, w.layers[1]), h) })
			}
			return h
		},
		"the function's sub (at recompute_test.go:": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			runs := 0
			return g.Recompute(x, func(x *ops.Tensor) *ops.Tensor {
				pair := []*ops.Tensor{g.MatMul(x, w.layers[0]), g.MatMul(x, w.layers[1])}
				runs++
				return g.Sub(pair[runs%2], pair[1-runs%2])
			})
		},
		"argument 0 is nil": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			return g.Recompute(x, func(x *ops.Tensor) *ops.Tensor { return nil })
		},
	} {
		g := ops.NewGraph(dev)
		x, y := g.Input("x", ops.F32, towerRows, towerWidth), g.Input("y", ops.I32, towerRows)
		g.Backward(g.CrossEntropy(build(g, x), y, nil), nil)
		if _, err := g.Compile(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "recompute_test.go") {
			t.Errorf("error is %v, want %q and the caller's line", err, want)
		}
	}
}

// What f hands back without having made it keeps the gradient it has.
func TestRecomputeOfNothing(t *testing.T) {
	dev := vktest.Open(t)
	want, _ := gradients(t, dev, ops.F32, false, true, (*tower).all)
	got, _ := gradients(t, dev, ops.F32, false, true, func(w *tower, g *ops.Graph, x *ops.Tensor) *ops.Tensor {
		x = g.Recompute(x, func(x *ops.Tensor) *ops.Tensor { return x })
		y := w.all(g, x)
		return g.Recompute(x, func(*ops.Tensor) *ops.Tensor { return y })
	})
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("result %d differs from that without Recompute", i)
		}
	}
}

// An immediate graph has run f already, and runs it again in Backward: the bits are those of a step.
func TestRecomputeAtOnce(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		var want [][]float32
		for name, blocks := range map[string]func(*tower, *ops.Graph, *ops.Tensor) *ops.Tensor{"all": (*tower).all, "each block": (*tower).each, "nested": (*tower).nested} {
			w, g := newTower(t, dev, dt), ops.NewImmediate(dev)
			t.Cleanup(g.Release)
			x := tensor(t, dev, dt, []int{towerRows, towerWidth}, random(dt, 1, towerRows*towerWidth))
			g.RequireGrad(x)
			loss := g.Sum(blocks(w, g, g.Scale(x, 2)))
			g.Backward(loss, nil)
			must(t, g.Err())
			got := [][]float32{values(t, loss), values(t, g.Grad(x))}
			for _, p := range w.params.All() {
				if g.Grad(p) != nil {
					got = append(got, values(t, g.Grad(p)))
				}
			}
			if want == nil {
				want = got
			}
			if !slices.EqualFunc(got, want, slices.Equal[[]float32]) {
				t.Errorf("%s, %s: other results", dt, name)
			}
		}
	}
}
