package ops_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// way is how a product can run, with the dimensions m, n and k of some.
type way struct {
	name  string
	set   func(g *ops.Graph)
	sizes [][3]int
}

var ways = []way{
	{"few rows", func(*ops.Graph) {}, [][3]int{{1, 13, 75}, {5, 13, 13}, {8, 64, 64}}},
	{"tiles", func(*ops.Graph) {}, [][3]int{{12, 13, 13}, {50, 70, 19}}},
	{"lanes", ops.UseLaneTiles, [][3]int{{34, 67, 37}, {65, 33, 33}}},
	{"shared", func(g *ops.Graph) { ops.UseSharedTiles(g, 1) }, [][3]int{{20, 23, 33}, {65, 70, 19}, {130, 45, 45}}},
	{"matrices", func(g *ops.Graph) { ops.UseMatrices(g, 1) }, [][3]int{{65, 70, 19}, {200, 136, 264}, {128, 128, 128}}},
}

// fusion is operations, of which some run in the store of a product.
type fusion struct {
	name     string
	function bool // or slope, of a product: saved where its kernel can apply it
	saves    int  // other dispatches
	build    func(g *ops.Graph, in *factors) []*ops.Tensor
}

// factors are what fusions start from.
type factors struct {
	x, w, bias, old, back *ops.Tensor // (m, k), (n, k), (n), (m, n), (k, n)
}

var fusions = []fusion{
	{"residual", false, 1, func(g *ops.Graph, in *factors) []*ops.Tensor {
		return []*ops.Tensor{g.Add(in.old, g.Linear(in.x, in.w, in.bias))}
	}},
	{"residual of two products", false, 1, func(g *ops.Graph, in *factors) []*ops.Tensor {
		return []*ops.Tensor{g.Add(g.MatMulNT(in.x, in.w), g.MatMulNT(g.Scale(in.x, 0.5), in.w))}
	}},
	{"residual that a view reads", false, 1, func(g *ops.Graph, in *factors) []*ops.Tensor {
		s := in.old.Shape()
		return []*ops.Tensor{g.Add(g.View(g.MatMulNT(in.x, in.w), 1, s[0], s[1]), g.View(g.Scale(in.old, 3), 1, s[0], s[1]))}
	}},
	{"residual after another reader", false, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		y := g.Linear(in.x, in.w, in.bias)
		return []*ops.Tensor{g.Mul(g.Scale(y, 2), g.Add(y, in.old))}
	}},
	{"product that is kept", false, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		y := g.Linear(in.x, in.w, in.bias)
		return []*ops.Tensor{y, g.Add(y, in.old)}
	}},
	{"row", false, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		return []*ops.Tensor{g.Add(g.Linear(in.x, in.w, nil), in.bias)}
	}},
	{"function", true, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		return []*ops.Tensor{g.GELU(g.Linear(in.x, in.w, in.bias))}
	}},
	{"function of what is read later", true, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		h := g.Linear(in.x, in.w, in.bias)
		return []*ops.Tensor{g.Mul(g.GELU(h), g.Scale(h, 2))}
	}},
	{"function of what is kept", true, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		h := g.Linear(in.x, in.w, in.bias)
		return []*ops.Tensor{h, g.GELU(h)}
	}},
	{"layers, backward", true, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
		g.RequireGrad(in.x)
		h := g.GELU(g.MatMulNT(in.x, in.w)) // (m, n)
		y := g.MatMulNT(h, in.back)         // (m, k)
		ops.BackwardFrom(g, y, in.x, false)
		return []*ops.Tensor{y, g.Grad(in.x)}
	}},
}

// SwiGLU in the store of the product of few rows that makes gate and up has the bits of an operation of its own; of more rows, and of
// a product that something else reads, it is one.
func TestFusedSwiGLU(t *testing.T) {
	dev := vktest.Open(t)
	p := ways[0]
	for _, dt := range floats {
		for _, size := range [][3]int{{1, 8, 75}, {5, 24, 13}, {8, 128, 64}, {9, 24, 13}} {
			saves := 1
			if size[0] > 8 {
				saves = 0
			}
			for _, f := range []fusion{
				{"swiglu", false, saves, func(g *ops.Graph, in *factors) []*ops.Tensor {
					return []*ops.Tensor{g.SwiGLUPacked(g.Linear(in.x, in.w, in.bias))}
				}},
				{"swiglu of what is kept", false, 0, func(g *ops.Graph, in *factors) []*ops.Tensor {
					y := g.Linear(in.x, in.w, nil)
					return []*ops.Tensor{y, g.SwiGLUPacked(y)}
				}},
			} {
				t.Run(fmt.Sprint(dt, size, f.name), func(t *testing.T) { checkFused(t, dev, p, dt, size, f) })
			}
		}
	}
}

// What runs in the store of a product has the bits of an operation of its own, padding included, on every kernel of products.
func TestFused(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, p := range ways {
		for _, dt := range floats {
			for _, size := range p.sizes {
				for _, f := range fusions {
					t.Run(fmt.Sprint(p.name, dt, size, f.name), func(t *testing.T) {
						checkFused(t, dev, p, dt, size, f)
					})
				}
			}
		}
	}
}

func checkFused(t *testing.T, dev *vk.Device, p way, dt ops.DType, size [3]int, f fusion) {
	t.Helper()
	m, n, k := size[0], size[1], size[2]
	in := &factors{}
	for i, a := range []struct {
		t     **ops.Tensor
		shape []int
	}{{&in.x, []int{m, k}}, {&in.w, []int{n, k}}, {&in.bias, []int{n}}, {&in.old, []int{m, n}}, {&in.back, []int{k, n}}} {
		values := 1
		for _, d := range a.shape {
			values *= d
		}
		*a.t = tensor(t, dev, dt, a.shape, random(dt, uint32(70+i), values))
	}
	now := ops.NewImmediate(dev)
	defer now.Release()
	p.set(now)
	var want [][]float32
	for _, y := range f.build(now, in) {
		want = append(want, values(t, ops.Padded(y)))
	}
	must(t, now.Err())
	g := ops.NewGraph(dev)
	p.set(g)
	if p.name == "matrices" && !ops.UsesMatrices(g, "products", dt) {
		g.Release()
		t.Skip("no matrices of this type")
	}
	outs := f.build(g, in)
	for i, y := range outs {
		outs[i] = ops.Padded(y)
		g.Output(outs[i])
	}
	s := run(t, g)
	for i, y := range outs {
		if !slices.EqualFunc(values(t, y), want[i], sameBits) {
			t.Errorf("result %d differs", i)
		}
	}
	kernels, saves := ops.Kernels(g), f.saves
	if f.name == "row" && m == 1 { // which has the shape of the product
		saves = 1
	}
	for i, k := range kernels[1:] { // a function right behind a product
		if f.function && strings.HasPrefix(k, "unary") && appliesFunctions(kernels[i]) {
			saves++
		}
	}
	if got := len(kernels) - s.Stats().Dispatches; got != saves {
		t.Errorf("%d dispatches fewer than operations, want %d: %v", got, saves, kernels)
	}
}

// appliesFunctions reports whether the kernel of a product can apply functions: those of GPUs and of few rows.
func appliesFunctions(kernel string) bool {
	kernel, _, _ = strings.Cut(kernel, ".")
	return kernel == "matmul_few" || kernel == "matmul_shared" || kernel == "matmul_coop"
}

// Each function, where its values and slopes are special too.
func TestFusedFunctions(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	functions := map[string]func(*ops.Graph, *ops.Tensor) *ops.Tensor{"silu": (*ops.Graph).SiLU, "gelu": (*ops.Graph).GELU,
		"gelu_tanh": (*ops.Graph).GELUTanh, "relu": (*ops.Graph).ReLU, "relu squared": (*ops.Graph).ReLUSquared,
		"sigmoid": (*ops.Graph).Sigmoid, "tanh": (*ops.Graph).Tanh, "exp": (*ops.Graph).Exp, "log": (*ops.Graph).Log}
	for name, function := range functions {
		for _, dt := range floats {
			t.Run(fmt.Sprint(name, dt), func(t *testing.T) {
				build := func(g *ops.Graph) (y, dx *ops.Tensor) {
					x := g.Input("x", dt, 3, 6)
					must(t, ops.Upload(ctx, x, []float32{0, 0.5, -3, 1e4, -20, 2, 6, 1e-3, -1, 90, 100, -100, 3, -3, 7, -7, 0, 0}))
					w := tensor(t, dev, dt, []int{6, 6}, identity(6))
					g.RequireGrad(x)
					h := function(g, g.MatMulNT(x, w))
					z := g.MatMulNT(h, w)
					ops.BackwardFrom(g, z, tensor(t, dev, dt, []int{3, 6}, random(dt, 5, 18)), false)
					return ops.Padded(h), ops.Padded(g.Grad(x))
				}
				now := ops.NewImmediate(dev)
				defer now.Release()
				wantY, wantDX := build(now)
				must(t, now.Err())
				g := ops.NewGraph(dev)
				y, dx := build(g)
				g.Output(y)
				g.Output(dx)
				run(t, g)
				if !slices.EqualFunc(values(t, y), values(t, wantY), sameBits) {
					t.Errorf("%v, want %v", values(t, y), values(t, wantY))
				}
				if !slices.EqualFunc(values(t, dx), values(t, wantDX), sameBits) {
					t.Errorf("gradient %v, want %v", values(t, dx), values(t, wantDX))
				}
			})
		}
	}
}

func identity(n int) []float32 {
	m := make([]float32, n*n)
	for i := range n {
		m[i*n+i] = 1
	}
	return m
}

// A residual stream that goes through square layers: what a product reads is not overwritten by the sum that takes its place.
func TestFusedStream(t *testing.T) {
	dev := vktest.Open(t)
	const rows, n = 40, 20
	x, w := tensor(t, dev, ops.F32, []int{rows, n}, random(ops.F32, 1, rows*n)), tensor(t, dev, ops.F32, []int{n, n}, random(ops.F32, 2, n*n))
	build := func(g *ops.Graph) *ops.Tensor {
		h := g.Scale(x, 0.5)
		for range 4 {
			h = g.Add(h, g.Linear(h, w, nil))
		}
		return h
	}
	now := ops.NewImmediate(dev)
	defer now.Release()
	want := values(t, build(now))
	for _, checked := range []bool{false, true} {
		g := ops.NewGraph(dev)
		y := build(g)
		g.Output(y)
		s := compile(t, g)
		if checked {
			must(t, s.RunChecked(ctx))
		} else {
			must(t, s.Run())
		}
		if !slices.Equal(values(t, y), want) {
			t.Errorf("checked %v: %v, want %v", checked, values(t, y), want)
		}
		if n := s.Stats().Dispatches; n != 5 {
			t.Errorf("%d dispatches, want 5", n)
		}
	}
}

// RunChecked tells a product from what was fused with it.
func TestRunCheckedOfFused(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		name     string
		x, other float32
		op       string
	}{{"product", 2e38, 1, "linear"}, {"sum", 1e38, 2e38, "add"}} {
		t.Run(c.name, func(t *testing.T) {
			w := tensor(t, dev, ops.F32, []int{3, 4}, []float32{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			g := ops.NewGraph(dev)
			x, other := g.Input("x", ops.F32, 2, 4), g.Input("other", ops.F32, 2, 3)
			y := g.Add(other, g.Linear(x, w, nil))
			g.Output(y)
			s := compile(t, g)
			if n := s.Stats().Dispatches; n != 1 {
				t.Fatalf("%d dispatches, want 1", n)
			}
			must(t, ops.Upload(ctx, x, slices.Repeat([]float32{c.x}, 8)))
			must(t, ops.Upload(ctx, other, slices.Repeat([]float32{c.other}, 6)))
			err := s.RunChecked(ctx)
			var found *ops.AnomalyError
			if !errors.As(err, &found) || found.Op != c.op || !strings.Contains(found.Where, "fuse_test.go") {
				t.Errorf("error is %v, want one of %s", err, c.op)
			}
		})
	}
}
