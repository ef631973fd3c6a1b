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

// random returns n values of a stream in [-2, 2), rounded to dt.
func random(dt ops.DType, stream uint32, n int) []float32 {
	return opstest.Round(dt.String(), opstest.Uniform(stream, n, 2))
}

func TestAddScaleCast(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{}, {1}, {5}, {3, 7}, {2, 3, 4}, {1000}} {
			t.Run(fmt.Sprint(dt, shape), func(t *testing.T) {
				a, b := tensor[float32](t, dev, dt, shape, nil), tensor[float32](t, dev, dt, shape, nil)
				av, bv := random(dt, 60, a.Len()), random(dt, 61, a.Len())
				dv := random(dt, 62, a.Len())
				for x, v := range map[*ops.Tensor][]float32{a: av, b: bv} {
					if err := ops.Upload(ctx, x, v); err != nil {
						t.Fatal(err)
					}
				}
				g := ops.NewGraph(dev)
				g.RequireGrad(a)
				g.RequireGrad(b)
				wide := g.Cast(g.Scale(g.Add(a, b), 0.3), ops.F32)
				g.Output(wide)
				y := g.Cast(wide, dt) // back again
				ops.BackwardFrom(g, y, tensor(t, dev, dt, shape, dv), false)
				g.Output(g.Grad(a))
				g.Output(g.Grad(b))
				run(t, g)
				round := func(f float32) float32 { return opstest.Round(dt.String(), []float32{f})[0] }
				want, grad := make([]float32, a.Len()), make([]float32, a.Len())
				for i := range want {
					want[i] = round(round(av[i]+bv[i]) * 0.3)
					grad[i] = round(dv[i] * 0.3)
				}
				opstest.Close(t, values(t, wide), want, 0)
				opstest.Close(t, values(t, g.Grad(a)), grad, 0)
				opstest.Close(t, values(t, g.Grad(b)), grad, 0)
			})
		}
	}
}

// The two copies that bench measures other kernels by.
func TestCopies(t *testing.T) {
	dev := vktest.Open(t)
	const n4 = 1037
	xv := opstest.Uniform(47, 4*n4, 1)
	for _, call := range []ops.Call{{Kernel: "copy", Items: n4}, {Kernel: "copy_plain", Threads: n4}} {
		g := ops.NewGraph(dev)
		x, y := tensor(t, dev, ops.F32, []int{4 * n4}, xv), tensor(t, dev, ops.F32, []int{4 * n4}, make([]float32, 4*n4))
		call.Push, call.Args = struct{ N4 uint32 }{n4}, []*ops.Tensor{x, y}
		g.Dispatch("copy", call)
		run(t, g)
		opstest.Close(t, values(t, y), opstest.F64(xv), 0)
	}
}

func TestCastTo(t *testing.T) {
	dev := vktest.Open(t)
	for _, from := range floats {
		for _, to := range floats {
			for _, n := range []int{3, 5, 8} { // copies of 8 and of 16 bytes
				v := random(from, 63, 3*n)
				x, y := tensor(t, dev, from, []int{3, n}, v), tensor[float32](t, dev, to, []int{3, n}, nil)
				g := ops.NewGraph(dev)
				g.CastTo(x, y)
				run(t, g)
				opstest.Close(t, values(t, y), opstest.Round(to.String(), v), 0)
			}
		}
	}
}

// Fill leaves the padding zero, which sums over rows count on.
func TestFill(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{}, {5}, {4, 7}, {3, 8}} {
			g := ops.NewGraph(dev)
			x := g.New(dt, shape...)
			g.Fill(x, 1.5)
			g.Output(x)
			run(t, g)
			want := make([]float32, x.Len())
			for i := range want {
				want[i] = 1.5
			}
			opstest.Close(t, values(t, x), want, 0)
			if x.Len() != 28 {
				continue
			}
			// A product over a padded inner dimension: 7 terms, not 8.
			g = ops.NewGraph(dev)
			a, b := g.New(dt, 1, 7), g.New(dt, 1, 7)
			g.Fill(a, 1)
			g.Fill(b, 2)
			y := g.MatMulNT(a, b)
			g.Output(y)
			run(t, g)
			opstest.Close(t, values(t, y), []float32{14}, 0)
		}
	}
	g := ops.NewGraph(dev)
	i, u, s := g.New(ops.I32, 3), g.New(ops.U32, 5), g.New(ops.U16, 2, 3)
	g.Fill(i, -7)
	g.Fill(u, 1<<31)
	g.Fill(s, 65535)
	for _, x := range []*ops.Tensor{i, u, s} {
		g.Output(x)
	}
	run(t, g)
	gi, gu, gs := make([]int32, 3), make([]uint32, 5), make([]uint16, 6)
	if err := ops.Download(ctx, i, gi); err != nil || !slices.Equal(gi, []int32{-7, -7, -7}) {
		t.Errorf("i32: %v (%v)", gi, err)
	}
	if err := ops.Download(ctx, u, gu); err != nil || gu[0] != 1<<31 || gu[4] != 1<<31 {
		t.Errorf("u32: %v (%v)", gu, err)
	}
	if err := ops.Download(ctx, s, gs); err != nil || gs[0] != 65535 || gs[5] != 65535 {
		t.Errorf("u16: %v (%v)", gs, err)
	}
}

func TestViewKeepsValuesAndGradient(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		p := ops.NewParams(dev, dt)
		w := p.Add("w", 6, 8)
		p.Add("next", 3)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		v, dv := random(dt, 64, 48), random(dt, 65, 48)
		if err := ops.Upload(ctx, w, v); err != nil {
			t.Fatal(err)
		}
		for _, accumulate := range []bool{false, true} {
			g := ops.NewGraph(dev)
			g.Fill(p.Grad(w), 1)
			y := g.Scale(g.View(g.View(w, 2, 3, 8), 4, 12), 1)
			z := g.View(y, 48)
			g.Output(z)
			ops.BackwardFrom(g, z, tensor(t, dev, dt, []int{48}, dv), accumulate)
			run(t, g)
			opstest.Close(t, values(t, z), v, 0)
			want := slices.Clone(dv)
			if accumulate {
				for i := range want {
					want[i] = opstest.Round(dt.String(), []float32{want[i] + 1})[0]
				}
			}
			opstest.Close(t, values(t, p.Grad(w)), want, 0)
		}
		p.Release()
	}
}

func TestRowsSharesMemory(t *testing.T) {
	dev := vktest.Open(t)
	v := random(ops.F32, 66, 256*3)
	x := tensor(t, dev, ops.F32, []int{256, 3}, v)
	ids := make([]int32, 300)
	for i := range ids {
		ids[i] = int32(i)
	}
	u := tensor(t, dev, ops.I32, []int{300}, ids)
	g := ops.NewGraph(dev)
	y := g.Scale(g.Rows(x, 64, 192), 1)
	g.Output(y)
	g.Fill(g.Rows(x, 128, 256), 5)
	g.Fill(g.Rows(u, 128, 256), -1)
	tail := g.Rows(u, 256, 300)
	g.Fill(g.Rows(tail, 0, 8), -2)
	run(t, g)
	opstest.Close(t, values(t, y), v[64*3:192*3], 0)
	for i := 128 * 3; i < len(v); i++ {
		v[i] = 5
	}
	opstest.Close(t, values(t, x), v, 0)
	for i := range ids[128:264] {
		ids[128+i] = int32(-1 - i/128)
	}
	got := make([]int32, 300)
	if err := ops.Download(ctx, u, got); err != nil || !slices.Equal(got, ids) {
		t.Errorf("ids %v (%v)", got, err)
	}
}

func TestElementwiseErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.Add(f(g, 2, 3), f(g, 3, 2)) }, "ops: add: f32[2 3] + f32[3 2]"},
		{func(g *ops.Graph) { g.Add(f(g, 2), g.Input("", ops.F16, 2)) }, "ops: add: f32[2] + f16[2]"},
		{func(g *ops.Graph) { g.Add(f(g, 2), nil) }, "ops: add: argument 1 is nil"},
		{func(g *ops.Graph) { g.Add(nil, nil) }, "ops: add: argument 0 is nil"},
		{func(g *ops.Graph) { g.Scale(f(g, 2), float32(math.NaN())) }, "ops: scale: factor is NaN"},
		{func(g *ops.Graph) { g.Scale(f(g, 2), float32(math.Inf(-1))) }, "ops: scale: factor is -Inf"},
		{func(g *ops.Graph) { g.Scale(g.Input("", ops.I32, 2), 1) }, "ops: scale: i32[2]: want a float type"},
		{func(g *ops.Graph) { g.Cast(g.Input("", ops.I32, 2), ops.F32) }, "ops: cast: i32[2] to f32"},
		{func(g *ops.Graph) { g.CastTo(f(g, 2), f(g, 3)) }, "ops: cast: f32[2] to f32[3]"},
		{func(g *ops.Graph) { g.Fill(g.New(ops.I32, 2), 0.5) }, "ops: fill: i32[2] with 0.5"},
		{func(g *ops.Graph) { g.Fill(g.New(ops.U16, 2), 65536) }, "ops: fill: u16[2] with 65536"},
		{func(g *ops.Graph) { g.Fill(g.New(ops.U32, 2), -1) }, "ops: fill: u32[2] with -1"},
		{func(g *ops.Graph) { g.View(f(g, 2, 3), 7) }, "ops: view: f32[2 3] as [7]: 6 values as 7"},
		{func(g *ops.Graph) { g.View(f(g, 2, 3), 3, 2) }, "rows of 3 and 2 values are padded differently"},
		{func(g *ops.Graph) { g.View(g.Input("", ops.I32, 6), -2, -3) }, "ops: view: i32[6] as [-2 -3]"},
		{func(g *ops.Graph) { g.Rows(f(g, 8, 4), 3, 9) }, "ops: rows: 3 to 9 of f32[8 4]"},
		{func(g *ops.Graph) { g.Rows(f(g, 8, 4), 3, 3) }, "ops: rows: 3 to 3 of f32[8 4]"},
		{func(g *ops.Graph) { g.Rows(f(g, 8), 0, 4) }, "ops: rows: f32[8] is a single row"},
		{func(g *ops.Graph) { g.Rows(f(g), 0, 1) }, "ops: rows: 0 to 1 of f32[]"},
		{func(g *ops.Graph) { g.Rows(g.Input("", ops.I32, 8), 0, 3) }, "3 values end within a group of four"},
		{func(g *ops.Graph) { g.Rows(g.Input("", ops.U16, 9), 1, 9) }, "row 1 of u16[9] starts at byte 2, the device binds multiples of"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at elementwise_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}

// A sum over runs in memory of its own: exact in f32, whatever is added.
func TestAddTo(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, to := range []ops.DType{dt, ops.F32} {
			shape := []int{3, 7}
			sum := tensor[float32](t, dev, to, shape, nil)
			g := ops.NewGraph(dev)
			x := g.Input("x", dt, shape...)
			g.AddTo(x, sum)
			s := compile(t, g)
			want := make([]float32, x.Len())
			for k := range uint32(3) {
				v := random(dt, 63+k, x.Len())
				if err := ops.Upload(ctx, x, v); err != nil {
					t.Fatal(err)
				}
				if err := s.Run(); err != nil {
					t.Fatal(err)
				}
				for i := range v {
					want[i] = opstest.Round(to.String(), []float32{want[i] + v[i]})[0]
				}
			}
			opstest.Close(t, values(t, sum), want, 0)
		}
	}
	g := ops.NewGraph(dev)
	g.AddTo(g.Input("x", ops.F16, 3), tensor[float32](t, dev, ops.BF16, []int{3}, nil))
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "a sum in f32") {
		t.Errorf("f16 added to bf16: %v", err)
	}
	g.Release()
}
