package ops_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// pack puts rows of the parts side by side: part i has widths[i] values in a row.
func pack(widths []int, parts ...[]float32) (all []float32) {
	for r := range len(parts[0]) / widths[0] {
		for i, p := range parts {
			all = append(all, p[r*widths[i]:(r+1)*widths[i]]...)
		}
	}
	return all
}

// Attention of q, k and v in one tensor has the bits of attention of three.
func TestAttentionPacked(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for i, s := range []opstest.AttentionShape{
		{Batch: 2, Positions: 1, Heads: 4, KVHeads: 2, Size: 16},
		{Batch: 1, Positions: 17, Heads: 9, KVHeads: 3, Size: 32},
		{Batch: 2, Positions: 65, Heads: 4, KVHeads: 4, Size: 17},
		{Batch: 2, Positions: 70, Heads: 2, KVHeads: 1, Size: 64},
	} {
		for _, dt := range floats {
			for _, shared := range []bool{false, true} {
				if dt != ops.F32 && shared != (i%2 == 0) {
					continue
				}
				t.Run(fmt.Sprint(s, dt, " shared ", shared), func(t *testing.T) {
					want := attend(t, dev, dt, s, 1, shared)
					widths := []int{s.Heads * s.Size, s.KVHeads * s.Size, s.KVHeads * s.Size}
					shape := []int{s.Batch, s.Positions, s.Heads + 2*s.KVHeads, s.Size}
					qkv := tensor(t, dev, dt, shape, pack(widths, want.q, want.k, want.v))
					g := ops.NewGraph(dev)
					if shared {
						ops.ShareMemory(g)
					}
					g.RequireGrad(qkv)
					y := g.Attention(qkv, nil, nil, &ops.AttentionOptions{Packed: s.KVHeads})
					ops.BackwardFrom(g, y, tensor(t, dev, dt, []int{s.Batch, s.Positions, s.Heads, s.Size}, want.dy), false)
					g.Output(y)
					g.Output(g.Grad(qkv))
					run(t, g)
					opstest.Close(t, values(t, y), want.y, 0)
					opstest.Close(t, values(t, g.Grad(qkv)), pack(widths, want.dq, want.dk, want.dv), 0)
				})
			}
		}
	}
}

// The gradient of packed q, k and v is added to what there is, once.
func TestAttentionPackedAddsGradients(t *testing.T) {
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 1, Positions: 9, Heads: 4, KVHeads: 2, Size: 8}
	shape := []int{s.Batch, s.Positions, s.Heads + 2*s.KVHeads, s.Size}
	n := s.Positions * 8 * s.Size
	x, dy := random(ops.F32, 90, n), random(ops.F32, 91, s.Queries())
	gradient := func(twice, accumulate bool) []float32 {
		p := ops.NewParams(dev, ops.F32)
		defer p.Release()
		qkv := p.Add("qkv", shape...)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		if err := ops.Upload(ctx, qkv, x); err != nil {
			t.Fatal(err)
		}
		g := ops.NewGraph(dev)
		g.Fill(p.Grad(qkv), 3)
		o := &ops.AttentionOptions{Packed: s.KVHeads}
		y := g.Attention(qkv, nil, nil, o)
		if twice {
			y = g.Add(y, g.Attention(qkv, nil, nil, o))
		}
		ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{s.Batch, s.Positions, s.Heads, s.Size}, dy), accumulate)
		run(t, g).Close()
		return values(t, p.Grad(qkv))
	}
	once := gradient(false, false)
	for _, twice := range []bool{false, true} {
		for _, accumulate := range []bool{false, true} {
			want := make([]float64, n)
			for i, v := range once {
				want[i] = float64(v)
				if twice {
					want[i] *= 2
				}
				if accumulate {
					want[i] += 3
				}
			}
			opstest.Close(t, gradient(twice, accumulate), want, 1e-6)
		}
	}
}

// Keys and values out of packed rows go to their caches in one call, and attention reads those.
func TestAttentionPackedWithCaches(t *testing.T) {
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 2, Positions: 13, Heads: 4, KVHeads: 2, Size: 20}
	const capacity = 16
	for _, dt := range floats {
		a := attend(t, dev, dt, s, 1, false)
		widths := []int{s.Heads * s.Size, s.KVHeads * s.Size, s.KVHeads * s.Size}
		keys := tensor[float32](t, dev, dt, []int{s.Batch, capacity, s.KVHeads, s.Size}, nil)
		cached := tensor[float32](t, dev, dt, []int{s.Batch, capacity, s.KVHeads, s.Size}, nil)
		got := make([]float32, len(a.y))
		for at, n := 0, 6; at < s.Positions; at, n = at+n, 1 {
			heads := s.Heads + 2*s.KVHeads
			qkv := tensor(t, dev, dt, []int{s.Batch, n, heads, s.Size}, positions(pack(widths, a.q, a.k, a.v), s, heads, at, n))
			start := tensor(t, dev, ops.U32, []int{4}, []uint32{uint32(at), 7, 7, 7})
			g := ops.NewGraph(dev)
			g.StorePacked(keys, cached, qkv, start)
			y := g.Attention(qkv, keys, cached, &ops.AttentionOptions{Packed: s.KVHeads, Start: start})
			g.Output(y)
			run(t, g)
			row := s.Heads * s.Size
			for b, v := range slices.Collect(slices.Chunk(values(t, y), n*row)) {
				copy(got[(b*s.Positions+at)*row:], v)
			}
		}
		if e := opstest.RelL2(got, a.y); e > tolerance(dt) {
			t.Errorf("%s: relative error %.3g", dt, e)
		}
	}
}

// RoPE of some heads leaves the others as they are, in place or not.
func TestRoPEOfSomeHeads(t *testing.T) {
	dev := vktest.Open(t)
	const b, n, heads, turned = 2, 5, 7, 4
	for _, size := range []int{6, 16} {
		for _, halves := range []bool{false, true} {
			for _, dt := range floats {
				shape := []int{b, n, heads, size}
				xv, dv := random(dt, 92, b*n*heads*size), random(dt, 93, b*n*heads*size)
				results := func(some int) (y, dx []float32) {
					g := ops.NewGraph(dev)
					x := g.Scale(tensor(t, dev, dt, shape, xv), 1)
					g.RequireGrad(x)
					out := g.RoPE(x, &ops.RoPEOptions{HalfSplit: halves, Heads: some})
					ops.BackwardFrom(g, out, tensor(t, dev, dt, shape, dv), false)
					g.Output(out)
					g.Output(g.Grad(x))
					run(t, g)
					return values(t, out), values(t, g.Grad(x))
				}
				y, dx := results(turned)
				allY, allX := results(0)
				for i := range y {
					wantY, wantX := allY[i], allX[i]
					if i/size%heads >= turned {
						wantY, wantX = xv[i], dv[i]
					}
					if y[i] != wantY || dx[i] != wantX {
						t.Fatalf("size %d, halves %v, %s: value %d is %v and %v, want %v and %v", size, halves, dt, i, y[i], dx[i], wantY, wantX)
					}
				}
			}
		}
	}
}

func TestSwiGLUPacked(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{4}, {3, 8}, {2, 3, 12}, {9, 1000}} {
			n, f := 1, shape[len(shape)-1]
			for _, d := range shape {
				n *= d
			}
			gate, up, dy := random(dt, 112, n), random(dt, 113, n), random(dt, 114, n)
			y, dgate, dup := swiglu(t, dev, dt, shape, gate, up, dy)
			packed := append(slices.Clone(shape[:len(shape)-1]), 2*f)
			g := ops.NewGraph(dev)
			x := g.Scale(tensor(t, dev, dt, packed, pack([]int{f, f}, gate, up)), 1)
			g.RequireGrad(x)
			out := g.SwiGLUPacked(x)
			ops.BackwardFrom(g, out, tensor(t, dev, dt, shape, dy), false)
			g.Output(out)
			g.Output(g.Grad(x))
			run(t, g)
			opstest.Close(t, values(t, out), y, 0)
			opstest.Close(t, values(t, g.Grad(x)), pack([]int{f, f}, dgate, dup), 0)
		}
	}
}

func TestPackedErrors(t *testing.T) {
	dev := vktest.Open(t)
	x := func(shape ...int) *ops.Tensor { return tensor[float32](t, dev, ops.F32, shape, nil) }
	start := tensor(t, dev, ops.U32, []int{4}, []uint32{0, 0, 0, 0})
	for want, f := range map[string]func(g *ops.Graph){
		"1 are left, want a multiple": func(g *ops.Graph) { g.Attention(x(1, 2, 5, 4), nil, nil, &ops.AttentionOptions{Packed: 2}) },
		"0 are left":                  func(g *ops.Graph) { g.Attention(x(1, 2, 4, 4), nil, nil, &ops.AttentionOptions{Packed: 2}) },
		"packed in q: want nil": func(g *ops.Graph) {
			g.Attention(x(1, 2, 3, 4), x(1, 2, 1, 4), nil, &ops.AttentionOptions{Packed: 1})
		},
		"of 1 packed heads": func(g *ops.Graph) {
			g.Attention(x(1, 2, 3, 4), x(1, 8, 2, 4), x(1, 8, 2, 4), &ops.AttentionOptions{Packed: 1, Start: start})
		},
		"argument 1 is nil": func(g *ops.Graph) {
			g.Attention(x(1, 2, 3, 4), nil, nil, &ops.AttentionOptions{Packed: 1, Start: start})
		},
		"shapes differ":         func(g *ops.Graph) { g.StorePacked(x(1, 8, 2, 4), x(1, 8, 2, 4), x(1, 2, 4, 4), start) },
		"caches of one shape":   func(g *ops.Graph) { g.StorePacked(x(1, 8, 1, 4), x(1, 8, 2, 4), x(1, 2, 6, 4), start) },
		"4 heads to turn":       func(g *ops.Graph) { g.RoPE(x(1, 2, 3, 4), &ops.RoPEOptions{Heads: 4}) },
		"a multiple of 8 colum": func(g *ops.Graph) { g.SwiGLUPacked(x(3, 12)) },
	} {
		g := ops.NewGraph(dev)
		f(g)
		wantError(t, want, g.Err(), want)
	}
}

// Parameters that lie together are one for a product, with the bits of several, and their gradients too.
func TestStack(t *testing.T) {
	dev := vktest.Open(t)
	const rows, width = 5, 32
	outputs := []int{12, 4, 4}
	for _, dt := range floats {
		x := tensor(t, dev, dt, []int{rows, width}, random(dt, 95, rows*width))
		p := ops.NewParams(dev, dt)
		var ws []*ops.Tensor
		for i, n := range outputs {
			ws = append(ws, p.Add(fmt.Sprint("w", i), n, width))
			p.Add(fmt.Sprint("between", i), 3)
		}
		p.Together(ws...)
		if _, ok := p.Stack(ws...); ok {
			t.Fatal("a stack before Alloc")
		}
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		for i, w := range ws {
			if err := ops.Upload(ctx, w, random(dt, uint32(96+i), w.Len())); err != nil {
				t.Fatal(err)
			}
		}
		dys := make([][]float32, len(outputs))
		for i, n := range outputs {
			dys[i] = random(dt, uint32(100+i), rows*n)
		}
		// gradients by products of each, of the stack, and of both in either order; then as much more where they accumulate
		gradients := func(uses string, accumulate bool) (all [][]float32) {
			g := ops.NewGraph(dev)
			for _, w := range ws {
				g.Fill(p.Grad(w), 3)
			}
			var y *ops.Tensor
			for _, use := range uses {
				var one *ops.Tensor
				switch stack, ok := p.Stack(ws...); {
				case !ok:
					t.Fatal("no stack")
				case use == 's':
					one = g.Linear(x, stack, nil)
				case use == 'f': // the first of them alone
					one = g.Concat(1, g.Linear(x, ws[0], nil), tensor[float32](t, dev, dt, []int{rows, 8}, nil))
				default:
					one = g.Concat(1, g.Linear(x, ws[0], nil), g.Linear(x, ws[1], nil), g.Linear(x, ws[2], nil))
				}
				if y == nil {
					y = one
				} else {
					y = g.Add(y, one)
				}
			}
			ops.BackwardFrom(g, y, tensor(t, dev, dt, []int{rows, 20}, pack(outputs, dys...)), accumulate)
			g.Output(y)
			run(t, g)
			all = append(all, values(t, y))
			for _, w := range ws {
				if g.Grad(w) != p.Grad(w) {
					t.Fatalf("%s: %v has no gradient", uses, w)
				}
				all = append(all, values(t, p.Grad(w)))
			}
			return all
		}
		same := func(uses, as string, accumulate bool) {
			t.Helper()
			want := gradients(as, accumulate)
			for i, got := range gradients(uses, accumulate) {
				opstest.Close(t, got, want[i], 0)
			}
		}
		for _, accumulate := range []bool{false, true} {
			same("s", "e", accumulate)
			same("ss", "ee", accumulate)
			same("se", "ee", accumulate)
			same("es", "ee", accumulate)
			same("fs", "fe", accumulate)
			same("sf", "ef", accumulate)
		}
		p.Freeze()
		stack, ok := p.Stack(ws...)
		if g := ops.NewGraph(dev); !ok || g.NeedsGrad(stack) {
			t.Error("a frozen stack has a gradient")
		}
		p.Release()
	}
}

// What is to lie together begins another bank rather than be cut by the end of one.
func TestTogetherInOneBank(t *testing.T) {
	dev := vktest.Open(t)
	const width = 128
	rows := int(dev.Info().Caps.MaxStorageRange/16) / (width / 4) // of a bank
	p := ops.NewParams(dev, ops.F32)
	defer p.Release()
	p.Add("first", rows-3, width)
	a, b := p.Add("a", 2, width), p.Add("b", 2, width)
	c, d := p.Add("c", rows-1, width), p.Add("d", 2, width) // more than one bank holds
	p.Together(a, b)
	p.Together(c, d)
	if err := p.Reserve(); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Stack(a, b); !ok {
		t.Error("a and b are apart")
	}
	if _, ok := p.Stack(c, d); ok || len(p.Banks()) != 4 {
		t.Errorf("%d banks, a stack of c and d: %v", len(p.Banks()), ok)
	}
}

// What leaves a gap, or is not of the set, is no stack, and what can't be placed together an error.
func TestStackRefuses(t *testing.T) {
	dev := vktest.Open(t)
	p, other := ops.NewParams(dev, ops.F32), ops.NewParams(dev, ops.F32)
	a, b, c, v, w := p.Add("a", 3, 32), p.Add("b", 4, 32), p.Add("c", 4, 64), p.Add("v", 130), p.Add("w", 128)
	alien := other.Add("alien", 4, 32)
	p.Together(a, b)
	for _, set := range []*ops.Params{p, other} {
		if err := set.Alloc(); err != nil {
			t.Fatal(err)
		}
		defer set.Release()
	}
	for name, ts := range map[string][]*ops.Tensor{"none": nil, "a gap": {a, b}, "other widths": {b, c}, "nil": {b, nil}, "another set": {b, alien}, "vectors with a gap": {v, w}, "a matrix and a vector": {c, v}} {
		if _, ok := p.Stack(ts...); ok {
			t.Errorf("a stack of %s", name)
		}
	}
	for _, together := range []func(p *ops.Params, a, b *ops.Tensor){
		func(p *ops.Params, a, b *ops.Tensor) { p.Together(a, a) },
		func(p *ops.Params, a, b *ops.Tensor) { p.Together(a, alien) },
		func(p *ops.Params, a, b *ops.Tensor) { p.Together(a, nil) },
		func(p *ops.Params, a, b *ops.Tensor) { p.Together(a); p.Together(b, a) },
	} {
		p := ops.NewParams(dev, ops.F32)
		together(p, p.Add("a", 4, 32), p.Add("b", 4, 32))
		wantError(t, "together", p.Alloc(), "together")
		p.Release()
	}
	var zero ops.Params
	zero.Add("a", 4)
	wantError(t, "a set that NewParams did not make", zero.Alloc(), "NewParams")
}
