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

// product returns a by b through the method of that kind.
func product(g *ops.Graph, kind string, a, b *ops.Tensor) *ops.Tensor {
	switch kind {
	case "nt":
		return g.MatMulNT(a, b)
	case "tn":
		return g.MatMulTN(a, b)
	}
	return g.MatMul(a, b)
}

// factorShapes returns the shapes of A and B.
func factorShapes(kind string, m, n, k int) (a, b []int) {
	a, b = []int{m, k}, []int{k, n}
	switch kind {
	case "nt":
		b = []int{n, k}
	case "tn":
		a = []int{k, m}
	}
	return a, b
}

func TestMatMulAgreesWithPyTorch(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range opstest.MatMulCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			dt := dtype(c.DType)
			sa, sb := factorShapes(c.Kind, c.M, c.N, c.K)
			a, b := tensor(t, dev, dt, sa, c.A()), tensor(t, dev, dt, sb, c.B())
			defer a.Release()
			defer b.Release()
			g := ops.NewGraph(dev)
			y := product(g, c.Kind, a, b)
			g.Output(y)
			defer run(t, g).Close()
			tol := 1e-6
			if dt != ops.F32 {
				tol = 1.01 * opstest.Epsilon(c.DType)
			}
			opstest.CheckL2(t, "product", values(t, y), c.C, tol)
		})
	}
}

func TestMatMulGradient(t *testing.T) {
	dev := vktest.Open(t)
	for _, size := range [][3]int{{1, 1, 1}, {5, 7, 3}, {17, 33, 9}} {
		m, n, k := size[0], size[1], size[2]
		for _, kind := range []string{"nn", "nt", "tn"} {
			for _, dt := range floats {
				t.Run(fmt.Sprint(kind, size, dt), func(t *testing.T) {
					random := func(stream uint32, n int) []float32 {
						return opstest.Round(dt.String(), opstest.Uniform(stream, n, 1))
					}
					av, bv, dv := random(50, m*k), random(51, k*n), random(52, m*n)
					da, db := opstest.MatMulBackward64(kind, av, bv, dv, m, n, k)
					sa, sb := factorShapes(kind, m, n, k)
					a, b := tensor(t, dev, dt, sa, av), tensor(t, dev, dt, sb, bv)
					g := ops.NewGraph(dev)
					g.RequireGrad(a)
					g.RequireGrad(b)
					y := product(g, kind, a, b)
					ops.BackwardFrom(g, y, tensor(t, dev, dt, []int{m, n}, dv), false)
					g.Output(g.Grad(a))
					g.Output(g.Grad(b))
					run(t, g)
					opstest.Close(t, values(t, g.Grad(a)), da, tolerance(dt))
					opstest.Close(t, values(t, g.Grad(b)), db, tolerance(dt))
				})
			}
		}
	}
}

// Leading dimensions of the left factor count as rows.
func TestMatMulLeadingDimensions(t *testing.T) {
	dev := vktest.Open(t)
	av, bv := opstest.Uniform(53, 2*3*5, 1), opstest.Uniform(54, 5*6, 1)
	a, b := tensor(t, dev, ops.F32, []int{2, 3, 5}, av), tensor(t, dev, ops.F32, []int{5, 6}, bv)
	g := ops.NewGraph(dev)
	g.RequireGrad(a)
	y := g.MatMul(a, b)
	dv := opstest.Uniform(55, 36, 1)
	ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{2, 3, 6}, dv), false)
	g.Output(y)
	g.Output(g.Grad(a))
	run(t, g)
	if !slices.Equal(y.Shape(), []int{2, 3, 6}) || !slices.Equal(g.Grad(a).Shape(), []int{2, 3, 5}) {
		t.Errorf("shapes %v and %v, want [2 3 6] and [2 3 5]", y.Shape(), g.Grad(a).Shape())
	}
	da, _ := opstest.MatMulBackward64("nn", av, bv, dv, 6, 6, 5)
	opstest.Close(t, values(t, y), opstest.MatMul64("nn", av, bv, 6, 6, 5), 1e-6)
	opstest.Close(t, values(t, g.Grad(a)), da, 1e-6)
}

// 16-bit factors with an f32 product and a factor alpha, added to what is there,
// for few rows and more, on processors and on GPUs.
func TestMatMulKernelsMixed(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	const k = 11
	for i := range 24 {
		dt, kind := []ops.DType{ops.F16, ops.BF16}[i%2], []string{"nn", "nt", "tn"}[i/2%3]
		m, n := []int{9, 3, 9, 18}[i/6], []int{6, 6, 6, 20}[i/6]
		tune := []func(*ops.Graph){nil, nil, func(g *ops.Graph) { ops.UseSharedTiles(g, 1) }, ops.UseLaneTiles}[i/6]
		t.Run(fmt.Sprint(kind, dt, m, n, i/6), func(t *testing.T) {
			av, bv := opstest.Round(dt.String(), opstest.Uniform(56, m*k, 1)), opstest.Round(dt.String(), opstest.Uniform(57, k*n, 1))
			sa, sb := factorShapes(kind, m, n, k)
			a, b, c := tensor(t, dev, dt, sa, av), tensor(t, dev, dt, sb, bv), tensor(t, dev, ops.F32, []int{m, n}, opstest.Uniform(58, m*n, 1))
			g := ops.NewGraph(dev)
			if tune != nil {
				tune(g)
			}
			ops.MatMulInto(g, kind, a, b, c, -2)
			run(t, g)
			want := opstest.MatMul64(kind, av, bv, m, n, k)
			for i, old := range opstest.Uniform(58, m*n, 1) {
				want[i] = float64(old) - 2*want[i]
			}
			opstest.Close(t, values(t, c), want, 1e-6)
		})
	}
}

func TestMatMulErrors(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		call func(g *ops.Graph, in func(dt ops.DType, shape ...int) *ops.Tensor)
		want []string
	}{
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMul(in(ops.F32, 2, 3), in(ops.F32, 4, 5))
		},
			[]string{"matmul: ", "f32[2 3]", "f32[4 5]", "3 and 4 differ"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMulNT(in(ops.F32, 2, 3), in(ops.F32, 4, 5))
		},
			[]string{"matmul nt", "3 and 5 differ"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMulTN(in(ops.F32, 2, 3), in(ops.F32, 4, 5))
		},
			[]string{"matmul tn", "2 and 4 differ"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMulTN(in(ops.F32, 2, 2, 3), in(ops.F32, 4, 5))
		},
			[]string{"f32[2 2 3]", "two matrices"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMul(in(ops.F32, 2, 2, 3), in(ops.F32, 3, 3, 5))
		},
			[]string{"f32[2 2 3]", "f32[3 3 5]", "as many on both sides"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMul(in(ops.F32, 2, 3), in(ops.F16, 3, 5))
		},
			[]string{"f32[2 3]", "f16[3 5]", "one float type"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMul(in(ops.F32, 3), in(ops.F32, 3, 5))
		},
			[]string{"f32[3]", "want matrices"}},
		{func(g *ops.Graph, in func(ops.DType, ...int) *ops.Tensor) {
			g.MatMul(in(ops.I32, 2, 3), in(ops.I32, 3, 5))
		},
			[]string{"i32[2 3]", "float"}},
	} {
		g := ops.NewGraph(dev)
		c.call(g, func(dt ops.DType, shape ...int) *ops.Tensor { return g.Input("", dt, shape...) })
		err := g.Err()
		if err == nil {
			t.Errorf("no error, want %q", c.want)
			continue
		}
		for _, want := range append(c.want, "matmul_test.go:") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		g.Release()
	}
}
