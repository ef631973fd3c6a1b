package ops_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// move is an operation that only moves values: value index of its result is value source of input.
type move struct {
	name   string
	inputs [][]int // shapes
	shape  []int
	call   func(g *ops.Graph, xs []*ops.Tensor) *ops.Tensor
	from   func(index []int) (input int, source []int)
}

func slice(dim, lo, hi int, x ...int) move {
	shape := slices.Clone(x)
	shape[dim] = hi - lo
	return move{"slice", [][]int{x}, shape, func(g *ops.Graph, xs []*ops.Tensor) *ops.Tensor { return g.Slice(xs[0], dim, lo, hi) },
		func(index []int) (int, []int) {
			source := slices.Clone(index)
			source[dim] += lo
			return 0, source
		}}
}

func concat(dim int, parts ...[]int) move {
	shape := slices.Clone(parts[0])
	for _, p := range parts[1:] {
		shape[dim] += p[dim]
	}
	return move{"concat", parts, shape, func(g *ops.Graph, xs []*ops.Tensor) *ops.Tensor { return g.Concat(dim, xs...) },
		func(index []int) (input int, source []int) {
			source = slices.Clone(index)
			for source[dim] >= parts[input][dim] {
				source[dim] -= parts[input][dim]
				input++
			}
			return input, source
		}}
}

func transpose(a, b int, x ...int) move {
	exchanged := func(s []int) []int {
		s = slices.Clone(s)
		s[a], s[b] = s[b], s[a]
		return s
	}
	return move{"transpose", [][]int{x}, exchanged(x), func(g *ops.Graph, xs []*ops.Tensor) *ops.Tensor { return g.Transpose(xs[0], a, b) },
		func(index []int) (int, []int) { return 0, exchanged(index) }}
}

func expand(x []int, shape ...int) move {
	return move{"expand", [][]int{x}, shape, func(g *ops.Graph, xs []*ops.Tensor) *ops.Tensor { return g.Expand(xs[0], shape...) },
		func(index []int) (int, []int) { return 0, index }}
}

func rows(lo, hi int, x ...int) move {
	m := slice(0, lo, hi, x...)
	m.name, m.call = "rows", func(g *ops.Graph, xs []*ops.Tensor) *ops.Tensor { return g.Scale(g.Rows(xs[0], lo, hi), 1) }
	return m
}

var moves = []move{
	slice(0, 2, 5, 7), slice(0, 4, 8, 9), slice(0, 1, 2, 3, 5), slice(1, 2, 7, 3, 9), slice(1, 4, 8, 3, 12), slice(1, 0, 3, 2, 3, 5),
	slice(3, 3, 4, 2, 3, 2, 6), slice(2, 1, 2, 2, 3, 2, 6), slice(1, 0, 9, 70, 9),
	concat(0, []int{3}), concat(0, []int{3}, []int{1}, []int{1}, []int{6}), concat(0, []int{2, 5}, []int{1, 5}),
	concat(1, []int{2, 5}, []int{2, 1}, []int{2, 3}, []int{2, 4}), concat(1, []int{2, 4}, []int{2, 8}), concat(1, []int{2, 3, 5}, []int{2, 1, 5}),
	concat(3, []int{2, 1, 3, 6}, []int{2, 1, 3, 2}), concat(1, []int{65, 1}, []int{65, 1}, []int{65, 1}),
	transpose(0, 1, 3, 5), transpose(1, 0, 40, 33), transpose(0, 1, 4, 8), transpose(1, 2, 2, 3, 4, 6), transpose(0, 3, 2, 3, 4, 6), transpose(2, 2, 2, 3, 4),
	transpose(1, 3, 2, 3, 2, 4, 5), transpose(1, 2, 3, 20, 35),
	expand([]int{}, 3, 5), expand([]int{5}, 3, 5), expand([]int{3, 1}, 3, 5), expand([]int{3, 1, 2}, 2, 3, 4, 2), expand([]int{3, 5}, 3, 5), expand([]int{1, 300}, 260, 300),
	rows(0, 2, 5, 7), rows(64, 192, 256, 3), rows(64, 128, 128, 2, 5),
}

// Values are moved, and gradients moved back; those of parameters are added to, and those of one tensor's parts.
func TestMoves(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, m := range moves {
		for _, dt := range floats {
			for _, accumulate := range []bool{false, true} {
				t.Run(fmt.Sprint(m.name, m.inputs, m.shape, dt, accumulate), func(t *testing.T) {
					p := ops.NewParams(dev, dt)
					var xs []*ops.Tensor
					for i, s := range m.inputs {
						xs = append(xs, p.Add(fmt.Sprint(i), s...))
					}
					must(t, p.Alloc())
					defer p.Release()
					g := ops.NewGraph(dev)
					values64, grads := make([][]float32, len(xs)), make([][]float64, len(xs))
					for i, x := range xs {
						values64[i], grads[i] = random(dt, uint32(180+i), x.Len()), make([]float64, x.Len())
						must(t, ops.Upload(ctx, x, values64[i]))
						g.Fill(p.Grad(x), 3)
					}
					y := g.Add(m.call(g, xs), m.call(g, xs)) // each part twice
					if !slices.Equal(y.Shape(), m.shape) {
						t.Fatalf("shape %v, want %v", y.Shape(), m.shape)
					}
					dy := opstest.Round(dt.String(), opstest.Uniform(179, y.Len(), 1))
					g.Output(y)
					ops.BackwardFrom(g, y, tensor(t, dev, dt, m.shape, dy), accumulate)
					run(t, g)
					var want []float32
					opstest.EachIndex(m.shape, func(index []int) {
						i, source := m.from(index)
						at := opstest.Offset(m.inputs[i], source)
						grads[i][at] += 2 * float64(dy[len(want)])
						want = append(want, opstest.Round(dt.String(), []float32{2 * values64[i][at]})[0])
					})
					opstest.Close(t, values(t, y), want, 0)
					if t.Failed() {
						t.FailNow()
					}
					for i, x := range xs {
						if accumulate {
							for j := range grads[i] {
								grads[i][j] += 3
							}
						}
						if e := opstest.RelL2(values(t, p.Grad(x)), grads[i]); !(e <= 2*tolerance(dt)) {
							t.Errorf("gradient of input %d off by %.2g", i, e)
						}
					}
				})
			}
		}
	}
}

// The padding of what is moved is zeros, whatever was in the memory before.
func TestMovesKeepPaddingZero(t *testing.T) {
	dev := vktest.Open(t)
	for _, m := range moves {
		g := ops.NewGraph(dev)
		full := g.New(ops.F32, 4096)
		g.Fill(full, 7)
		var xs []*ops.Tensor
		for i, s := range m.inputs {
			x := tensor[float32](t, dev, ops.F32, s, nil)
			must(t, ops.Upload(ctx, x, random(ops.F32, uint32(180+i), x.Len())))
			xs = append(xs, x)
		}
		seven := g.Scale(full, 1)
		y := m.call(g, xs)
		g.Output(y)
		g.Output(seven)
		run(t, g)
		d := m.shape[len(m.shape)-1]
		for j, v := range values(t, ops.Padded(y)) {
			if j%((d+3)/4*4) >= d && v != 0 {
				t.Fatalf("%s of %v: %v behind the end of a row", m.name, m.inputs, v)
			}
		}
	}
}

// Neighboring slices of one tensor write into one gradient.
func TestSlicesOfOneTensor(t *testing.T) {
	dev := vktest.Open(t)
	const n, d = 5, 11
	xv, dy := random(ops.F32, 185, n*d), random(ops.F32, 186, n*4)
	x := tensor(t, dev, ops.F32, []int{n, d}, xv)
	g := ops.NewGraph(dev)
	g.RequireGrad(x)
	y := g.Mul(g.Slice(x, 1, 0, 4), g.Mul(g.Slice(x, 1, 3, 7), g.Slice(x, 1, 7, 11)))
	ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{n, 4}, dy), false)
	g.Output(g.Grad(x))
	run(t, g)
	want := make([]float64, n*d)
	for i, v := range dy {
		a, b, c := i/4*d+i%4, i/4*d+i%4+3, i/4*d+i%4+7
		want[a] += float64(v) * float64(xv[b]) * float64(xv[c])
		want[b] += float64(v) * float64(xv[a]) * float64(xv[c])
		want[c] += float64(v) * float64(xv[a]) * float64(xv[b])
	}
	opstest.Close(t, values(t, g.Grad(x)), want, 1e-6)
}

func TestMoveErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.Slice(nil, 0, 0, 1) }, "ops: slice: argument 0 is nil"},
		{func(g *ops.Graph) { g.Slice(f(g, 3), 1, 0, 1) }, "ops: slice: f32[3] along dimension 1: want a float type and one of its dimensions"},
		{func(g *ops.Graph) { g.Slice(f(g, 3), 0, 2, 2) }, "ops: slice: 2 to 2 of dimension 0 of f32[3]"},
		{func(g *ops.Graph) { g.Slice(f(g, 3), 0, 0, 4) }, "ops: slice: 0 to 4 of dimension 0 of f32[3]"},
		{func(g *ops.Graph) { g.Slice(g.Input("", ops.I32, 3), 0, 0, 1) }, "ops: slice: i32[3] along"},
		{func(g *ops.Graph) { g.Concat(0) }, "ops: concat: no tensors"},
		{func(g *ops.Graph) { g.Concat(0, f(g, 3), nil) }, "ops: concat: argument 1 is nil"},
		{func(g *ops.Graph) { g.Concat(-1, f(g, 3)) }, "ops: concat: f32[3] along dimension -1"},
		{func(g *ops.Graph) { g.Concat(1, f(g, 3, 2), f(g, 2, 2)) }, "ops: concat: f32[3 2] and f32[2 2] along dimension 1: want one type"},
		{func(g *ops.Graph) { g.Concat(0, f(g, 3), g.Input("", ops.F16, 3)) }, "ops: concat: f32[3] and f16[3]"},
		{func(g *ops.Graph) { g.Transpose(f(g, 3, 2), 0, 2) }, "ops: transpose: dimensions 0 and 2 of f32[3 2]"},
		{func(g *ops.Graph) { g.Transpose(nil, 0, 1) }, "ops: transpose: argument 0 is nil"},
		{func(g *ops.Graph) { g.Expand(f(g, 3), 2, 4) }, "ops: expand: f32[3] to [2 4]: dimensions differ that are not 1"},
		{func(g *ops.Graph) { g.Expand(f(g, 2, 3), 3) }, "ops: expand: f32[2 3] to [3]"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at strided_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
