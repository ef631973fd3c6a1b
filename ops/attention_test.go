package ops_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// attended is what attention made of random values.
type attended struct {
	shape       opstest.AttentionShape
	q, k, v, dy []float32
	y           []float32
	dq, dk, dv  []float32
}

// attend runs attention and its gradient on values whose logits are about as
// large as sharpness; shared chooses the kernels for GPUs.
func attend(t testing.TB, dev *vk.Device, dt ops.DType, s opstest.AttentionShape, sharpness float32, shared bool, change ...func(*ops.Graph)) *attended {
	t.Helper()
	return attendBy(t, dev, dt, s, sharpness, shared, nil, change...)
}

// attendBy is attend with options.
func attendBy(t testing.TB, dev *vk.Device, dt ops.DType, s opstest.AttentionShape, sharpness float32, shared bool, o *ops.AttentionOptions, change ...func(*ops.Graph)) *attended {
	t.Helper()
	values16 := func(stream uint32, n int, limit float32) []float32 {
		return opstest.Round(dt.String(), opstest.Uniform(stream, n, limit))
	}
	a := &attended{shape: s, q: values16(130, s.Queries(), 2*sharpness), k: values16(131, s.Keys(), 2),
		v: values16(132, s.Keys(), 2), dy: values16(133, s.Queries(), 1)}
	qs, ks := []int{s.Batch, s.Positions, s.Heads, s.Size}, []int{s.Batch, s.Positions, s.KVHeads, s.Size}
	q, k, v := tensor(t, dev, dt, qs, a.q), tensor(t, dev, dt, ks, a.k), tensor(t, dev, dt, ks, a.v)
	g := ops.NewGraph(dev)
	if shared {
		ops.ShareMemory(g)
	}
	for _, f := range change {
		f(g)
	}
	for _, x := range []*ops.Tensor{q, k, v} {
		g.RequireGrad(x)
	}
	y := g.Attention(q, k, v, o)
	ops.BackwardFrom(g, y, tensor(t, dev, dt, qs, a.dy), false)
	for _, x := range []*ops.Tensor{y, g.Grad(q), g.Grad(k), g.Grad(v)} {
		g.Output(x)
	}
	step := run(t, g)
	a.y, a.dq, a.dk, a.dv = values(t, y), values(t, g.Grad(q)), values(t, g.Grad(k)), values(t, g.Grad(v))
	step.Close()
	return a
}

// check compares with the reference: relative error of the whole tensor.
func (a *attended) check(t *testing.T, tolerance float64) {
	t.Helper()
	a.checkBy(t, tolerance, opstest.AttentionRule{})
}

// checkBy is check of attention by a rule.
func (a *attended) checkBy(t *testing.T, tolerance float64, r opstest.AttentionRule) {
	t.Helper()
	dq, dk, dv := opstest.AttentionBackwardBy64(a.q, a.k, a.v, a.dy, a.shape, r)
	for _, c := range []struct {
		name string
		got  []float32
		want []float64
	}{{"y", a.y, opstest.AttentionBy64(a.q, a.k, a.v, a.shape, r)}, {"dq", a.dq, dq}, {"dk", a.dk, dk}, {"dv", a.dv, dv}} {
		if e := opstest.RelL2(c.got, c.want); !(e <= tolerance) {
			t.Errorf("%s: relative error %.3g, tolerance %.3g", c.name, e, tolerance)
		} else {
			t.Logf("%s: relative error %.3g", c.name, e)
		}
	}
}

// attentionTolerance allows f32 the rounding of sums, 16 bits the rounding of the
// result and of y, which in the gradient meets terms that nearly cancel it.
func attentionTolerance(dt ops.DType) float64 {
	switch dt {
	case ops.F16:
		return 1.0 / 1024
	case ops.BF16:
		return 1.0 / 100
	}
	return 2e-6
}

func TestAttention(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	every, one := floats, floats[:1]
	for i, c := range []struct {
		opstest.AttentionShape
		types []ops.DType
	}{
		{opstest.AttentionShape{Batch: 2, Positions: 1, Heads: 4, KVHeads: 2, Size: 16}, every},
		{opstest.AttentionShape{Batch: 2, Positions: 2, Heads: 1, KVHeads: 1, Size: 20}, one},
		{opstest.AttentionShape{Batch: 3, Positions: 5, Heads: 2, KVHeads: 2, Size: 1}, one},
		{opstest.AttentionShape{Batch: 1, Positions: 17, Heads: 9, KVHeads: 3, Size: 32}, every},
		{opstest.AttentionShape{Batch: 2, Positions: 65, Heads: 4, KVHeads: 4, Size: 17}, every},
		{opstest.AttentionShape{Batch: 1, Positions: 64, Heads: 4, KVHeads: 2, Size: 64}, one},
		{opstest.AttentionShape{Batch: 1, Positions: 257, Heads: 2, KVHeads: 1, Size: 80}, one},
		{opstest.AttentionShape{Batch: 1, Positions: 33, Heads: 3, KVHeads: 1, Size: 128}, floats[:2]},
		{opstest.AttentionShape{Batch: 1, Positions: 9, Heads: 1, KVHeads: 1, Size: 132}, one},
	} {
		for _, dt := range c.types {
			t.Run(fmt.Sprint(c.AttentionShape, dt, " lanes"), func(t *testing.T) {
				attend(t, dev, dt, c.AttentionShape, 1, false).check(t, attentionTolerance(dt))
			})
			for _, cores := range []int{0, []int{8, 1000}[i%2]} {
				t.Run(fmt.Sprint(c.AttentionShape, dt, " cores ", cores), func(t *testing.T) {
					attend(t, dev, dt, c.AttentionShape, 1, true, func(g *ops.Graph) { ops.UseCores(g, cores) }).check(t, attentionTolerance(dt))
				})
			}
		}
	}
}

// With few registers an invocation has fewer rows, and loops that are not unrolled.
func TestAttentionFewRegisters(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, s := range []opstest.AttentionShape{
		{Batch: 1, Positions: 65, Heads: 4, KVHeads: 2, Size: 17}, {Batch: 1, Positions: 33, Heads: 2, KVHeads: 1, Size: 128}, {Batch: 1, Positions: 9, Heads: 1, KVHeads: 1, Size: 132},
	} {
		attend(t, dev, ops.F32, s, 1, true, ops.UseFewRegisters).check(t, attentionTolerance(ops.F32))
	}
}

// Logits around a thousand: the error of a weight is that of its logit.
func TestAttentionLargeLogits(t *testing.T) {
	dev := vktest.Open(t)
	for _, shared := range []bool{false, true} {
		attend(t, dev, ops.F32, opstest.AttentionShape{Batch: 1, Positions: 40, Heads: 2, KVHeads: 1, Size: 32}, 300, shared).check(t, 1e-4)
	}
}

// Where one dispatch would loop too often the heads of a group take turns.
func TestAttentionSplitsGroups(t *testing.T) {
	dev := vktest.Open(t)
	few := func(g *ops.Graph) { ops.LimitTurns(g, 10) }
	attend(t, dev, ops.F32, opstest.AttentionShape{Batch: 1, Positions: 17, Heads: 9, KVHeads: 3, Size: 32}, 1, false, few).check(t, attentionTolerance(ops.F32))
}

func TestAttentionIsDeterministic(t *testing.T) {
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 2, Positions: 40, Heads: 4, KVHeads: 2, Size: 32}
	for _, shared := range []bool{false, true} {
		a, b := attend(t, dev, ops.F32, s, 1, shared), attend(t, dev, ops.F32, s, 1, shared)
		for i, x := range [][]float32{a.y, a.dq, a.dk, a.dv} {
			if !slices.Equal(x, [][]float32{b.y, b.dq, b.dk, b.dv}[i]) {
				t.Errorf("shared %v: result %d differs between two runs", shared, i)
			}
		}
	}
}

// Gradients of parameters are added to; q, k and v may be one tensor.
func TestAttentionAddsGradients(t *testing.T) {
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 2, Positions: 7, Heads: 2, KVHeads: 2, Size: 6}
	shape := []int{s.Batch, s.Positions, s.Heads, s.Size}
	for _, dt := range floats {
		p := ops.NewParams(dev, dt)
		x := p.Add("x", shape...)
		other := p.Add("other", shape...)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		xv, ov, dy := random(dt, 134, s.Queries()), random(dt, 135, s.Queries()), random(dt, 136, s.Queries())
		for w, v := range map[*ops.Tensor][]float32{x: xv, other: ov} {
			if err := ops.Upload(ctx, w, v); err != nil {
				t.Fatal(err)
			}
		}
		for _, accumulate := range []bool{false, true} {
			g := ops.NewGraph(dev)
			g.Fill(p.Grad(x), 2)
			g.Fill(p.Grad(other), -1)
			y := g.Attention(g.Attention(x, x, x, nil), other, other, nil)
			ops.BackwardFrom(g, y, tensor(t, dev, dt, shape, dy), accumulate)
			run(t, g).Close()
			inner := opstest.Round(dt.String(), opstest.F32(opstest.Attention64(xv, xv, xv, s)))
			dq, dk, dv := opstest.AttentionBackward64(inner, ov, ov, dy, s)
			dq2, dk2, dv2 := opstest.AttentionBackward64(xv, xv, xv, opstest.Round(dt.String(), opstest.F32(dq)), s)
			for i := range dk {
				dk[i] += dv[i]
				dk2[i] += dq2[i] + dv2[i]
				if accumulate {
					dk[i]--
					dk2[i] += 2
				}
			}
			for i, w := range []*ops.Tensor{x, other} {
				if e := opstest.RelL2(values(t, p.Grad(w)), [][]float64{dk2, dk}[i]); e > 2*tolerance(dt) {
					t.Errorf("%v, accumulate %v: relative error %.3g", w, accumulate, e)
				}
			}
		}
		p.Release()
	}
}

// Positions written to caches and attended to piece by piece give what the whole
// sequence does, whatever the rest of the caches holds.
func TestAttentionWithCaches(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 2, Positions: 23, Heads: 4, KVHeads: 2, Size: 20}
	const capacity = 29
	for _, dt := range floats {
		a := attend(t, dev, dt, s, 1, false)
		junk := make([]float32, s.Batch*capacity*s.KVHeads*s.Size)
		for i := range junk {
			junk[i] = 1e3
		}
		kCache, vCache := tensor(t, dev, dt, []int{s.Batch, capacity, s.KVHeads, s.Size}, junk), tensor(t, dev, dt, []int{s.Batch, capacity, s.KVHeads, s.Size}, junk)
		got := make([]float32, len(a.y))
		for at := 0; at < s.Positions; {
			n := []int{1, 5, 2, 16}[at%4]
			n = min(n, s.Positions-at)
			part := func(x []float32, heads int) *ops.Tensor {
				return tensor(t, dev, dt, []int{s.Batch, n, heads, s.Size}, positions(x, s, heads, at, n))
			}
			start := tensor(t, dev, ops.U32, []int{4}, []uint32{uint32(at), 7, 7, 7})
			g := ops.NewGraph(dev)
			if at > 10 {
				ops.TuneGPU(g)
			}
			g.StoreRows(kCache, part(a.k, s.KVHeads), start)
			g.StoreRows(vCache, part(a.v, s.KVHeads), start)
			y := g.Attention(part(a.q, s.Heads), kCache, vCache, &ops.AttentionOptions{Start: start})
			g.Output(y)
			run(t, g)
			row := s.Heads * s.Size
			for b, v := range slices.Collect(slices.Chunk(values(t, y), n*row)) {
				copy(got[(b*s.Positions+at)*row:], v)
			}
			at += n
		}
		if e := opstest.RelL2(got, a.y); e > tolerance(dt) {
			t.Errorf("%s: relative error %.3g", dt, e)
		}
	}
}

// On a GPU several invocations share a key of a cache, as many as its length asks for.
func TestAttentionSharedKeys(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for i, size := range []int{4, 20, 48, 64, 100, 128, 256} {
		s := opstest.AttentionShape{Batch: 1, Positions: 70 + i, Heads: 2, KVHeads: 1, Size: size}
		for _, dt := range floats {
			q, k, v := random(dt, 130, s.Queries()), random(dt, 131, s.Keys()), random(dt, 132, s.Keys())
			want := opstest.Attention64(q, k, v, s)
			shape := []int{1, s.Positions, 1, size}
			keys, vals := tensor(t, dev, dt, shape, k), tensor(t, dev, dt, shape, v)
			for _, n := range []int{1, 4} {
				at, row := s.Positions-n, s.Heads*size
				g := ops.NewGraph(dev)
				ops.TuneGPU(g)
				start := tensor(t, dev, ops.U32, []int{4}, []uint32{uint32(at), 0, 0, 0})
				y := g.Attention(tensor(t, dev, dt, []int{1, n, s.Heads, size}, q[at*row:]), keys, vals, &ops.AttentionOptions{Start: start})
				g.Output(y)
				run(t, g).Close()
				if e := opstest.RelL2(values(t, y), want[at*row:]); !(e <= tolerance(dt)) {
					t.Errorf("%s, heads of %d, %d queries: relative error %.3g", dt, size, n, e)
				}
			}
		}
	}
}

// positions returns n positions from at of x (Batch, Positions, heads, Size).
func positions(x []float32, s opstest.AttentionShape, heads, at, n int) (part []float32) {
	row := heads * s.Size
	for b := range s.Batch {
		part = append(part, x[(b*s.Positions+at)*row:(b*s.Positions+at+n)*row]...)
	}
	return part
}

func TestStoreRowsDropsWhatDoesNotFit(t *testing.T) {
	dev := vktest.Open(t)
	for _, start := range []uint32{3, 9, 1<<32 - 1} {
		cache := tensor[float32](t, dev, ops.F32, []int{2, 4, 1, 2}, nil)
		g := ops.NewGraph(dev)
		g.StoreRows(cache, tensor(t, dev, ops.F32, []int{2, 2, 1, 2}, []float32{1, 2, 3, 4, 5, 6, 7, 8}), tensor(t, dev, ops.U32, []int{4}, []uint32{start, 0, 0, 0}))
		run(t, g)
		want := make([]float32, 16)
		if start == 3 {
			want[6], want[7], want[14], want[15] = 1, 2, 5, 6
		}
		opstest.Close(t, values(t, cache), want, 0)
	}
}

// Training needs no memory that grows with the square of the length.
func TestAttentionMemory(t *testing.T) {
	dev := vktest.Open(t)
	const n, heads, size = 512, 2, 16
	x := tensor[float32](t, dev, ops.F32, []int{1, n, heads, size}, nil)
	g := ops.NewGraph(dev)
	g.RequireGrad(x)
	y := g.Attention(g.Scale(x, 1), g.Scale(x, 1), g.Scale(x, 1), nil)
	ops.BackwardFrom(g, y, x, false)
	g.Output(g.Grad(x))
	// At most ten tensors like x, two rows of statistics and the alignment.
	if got, limit := compile(t, g).Stats().ArenaBytes, 10*x.Bytes()+2*4*n*heads+4096; got > limit || got >= 4*n*n {
		t.Errorf("arena of %d bytes, want at most %d", got, limit)
	}
}

func TestAttentionErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.Attention(f(g, 1, 2, 4, 8), f(g, 1, 2, 4, 8), nil, nil) }, "ops: attention: argument 2 is nil"},
		{func(g *ops.Graph) {
			g.Attention(f(g, 1, 2, 4, 8), g.Input("", ops.F16, 1, 2, 4, 8), f(g, 1, 2, 4, 8), nil)
		}, "k f16[1 2 4 8], v f32[1 2 4 8]: want one float type"},
		{func(g *ops.Graph) { g.Attention(f(g, 2, 4, 8), f(g, 2, 4, 8), f(g, 2, 4, 8), nil) }, "q f32[2 4 8], k f32[2 4 8], v f32[2 4 8]: want (B, T, H, S)"},
		{func(g *ops.Graph) { g.Attention(f(g, 1, 2, 4, 8), f(g, 1, 2, 4, 8), f(g, 1, 2, 2, 8), nil) }, "v f32[1 2 2 8]: want (B, T, H, S), and (B, T, K, S) twice"},
		{func(g *ops.Graph) { g.Attention(f(g, 1, 2, 4, 8), f(g, 1, 2, 4, 9), f(g, 1, 2, 4, 9), nil) }, "batch or head sizes differ"},
		{func(g *ops.Graph) { g.Attention(f(g, 1, 2, 4, 8), f(g, 1, 2, 3, 8), f(g, 1, 2, 3, 8), nil) }, "4 heads are no multiple of 3"},
		{func(g *ops.Graph) { g.Attention(f(g, 1, 2, 4, 8), f(g, 1, 3, 4, 8), f(g, 1, 3, 4, 8), nil) }, "2 and 3 positions without Start"},
		{func(g *ops.Graph) { g.Attention(f(g, 1, 2, 1, 300), f(g, 1, 2, 1, 300), f(g, 1, 2, 1, 300), nil) }, "heads of 300 values, want at most 256"},
		{func(g *ops.Graph) {
			g.Attention(f(g, 1, 3, 4, 8), f(g, 1, 2, 4, 8), f(g, 1, 2, 4, 8), &ops.AttentionOptions{Start: g.Input("", ops.U32, 4)})
		}, "3 positions do not fit 2"},
		{func(g *ops.Graph) {
			g.Attention(f(g, 1, 2, 4, 8), f(g, 1, 2, 4, 8), f(g, 1, 2, 4, 8), &ops.AttentionOptions{Start: g.Input("", ops.I32, 4)})
		}, "start i32[4]: want u32[4]"},
		{func(g *ops.Graph) { g.StoreRows(f(g, 1, 8, 2, 4), f(g, 1, 2, 2, 5), g.Input("", ops.U32, 4)) }, "ops: store rows: f32[1 2 2 5] to f32[1 8 2 4]: shapes differ"},
		{func(g *ops.Graph) { g.StoreRows(f(g, 8, 2, 4), f(g, 2, 2, 4), g.Input("", ops.U32, 4)) }, "four dimensions"},
		{func(g *ops.Graph) { g.StoreRows(f(g, 1, 8, 2, 4), f(g, 1, 2, 2, 4), f(g, 4)) }, "start f32[4]: want u32[4]"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at attention_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
