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

func TestLinear(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range []struct {
		shape   []int // of x
		outputs int
		bias    bool
	}{{[]int{7}, 3, true}, {[]int{1, 1}, 1, true}, {[]int{2, 3, 9}, 6, true}, {[]int{19, 33}, 37, true}, {[]int{150, 8}, 5, true}, {[]int{5, 6}, 7, false}} {
		for _, dt := range floats {
			t.Run(fmt.Sprint(c, dt), func(t *testing.T) {
				in := c.shape[len(c.shape)-1]
				n := 1
				for _, s := range c.shape[:len(c.shape)-1] {
					n *= s
				}
				xv, wv, bv, dv := random(dt, 42, n*in), random(dt, 43, c.outputs*in), random(dt, 44, c.outputs), random(dt, 45, n*c.outputs)
				x, w, b := tensor(t, dev, dt, c.shape, xv), tensor(t, dev, dt, []int{c.outputs, in}, wv), tensor(t, dev, dt, []int{c.outputs}, bv)
				wanted := []*ops.Tensor{x, w, b}
				if !c.bias {
					b, bv, wanted = nil, make([]float32, c.outputs), wanted[:2]
				}
				g := ops.NewGraph(dev)
				for _, p := range wanted {
					g.RequireGrad(p)
				}
				y := g.Linear(x, w, b)
				if want := append(slices.Clone(c.shape[:len(c.shape)-1]), c.outputs); !slices.Equal(y.Shape(), want) {
					t.Fatalf("shape is %v, want %v", y.Shape(), want)
				}
				g.Output(y)
				ops.BackwardFrom(g, y, tensor(t, dev, dt, y.Shape(), dv), false)
				for _, p := range wanted {
					g.Output(g.Grad(p))
				}
				run(t, g)
				tol := 1e-6
				if dt != ops.F32 {
					tol = 1.01 * opstest.Epsilon(dt.String())
				}
				check := func(name string, x *ops.Tensor, want []float64) {
					if e := opstest.RelL2(values(t, x), want); e > tol {
						t.Errorf("%s: relative error %g, want %g at most", name, e, tol)
					}
				}
				dx, dw, db := opstest.LinearBackward64(xv, wv, dv, in)
				check("y", y, opstest.Linear64(xv, wv, bv, in))
				check("d x", g.Grad(x), dx)
				check("d weight", g.Grad(w), dw)
				if c.bias {
					check("d bias", g.Grad(b), db)
				}
			})
		}
	}
}

// Gradients of parameters are added to what their arena holds.
func TestLinearAccumulates(t *testing.T) {
	dev := vktest.Open(t)
	const n, in, out = 5, 6, 3
	p := ops.NewParams(dev, ops.F32)
	w, b := p.Add("weight", out, in), p.Add("bias", out)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	xv, dv := random(ops.F32, 46, n*in), random(ops.F32, 47, n*out)
	oldW, oldB := random(ops.F32, 48, out*in), random(ops.F32, 49, out)
	for x, v := range map[*ops.Tensor][]float32{p.Grad(w): oldW, p.Grad(b): oldB} {
		if err := ops.Upload(ctx, x, v); err != nil {
			t.Fatal(err)
		}
	}
	g := ops.NewGraph(dev)
	y := g.Linear(tensor(t, dev, ops.F32, []int{n, in}, xv), w, b)
	ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{n, out}, dv), true)
	run(t, g)
	_, dw, db := opstest.LinearBackward64(xv, make([]float32, out*in), dv, in)
	for i := range dw {
		dw[i] += float64(oldW[i])
	}
	for i := range db {
		db[i] += float64(oldB[i])
	}
	opstest.Close(t, values(t, p.Grad(w)), dw, 1e-6)
	opstest.Close(t, values(t, p.Grad(b)), db, 1e-6)
}

func TestLinearErrors(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		x, w, b []int
		want    string
	}{
		{[]int{4, 3}, []int{5, 4}, nil, "linear: f32[4 3] by f32[5 4]: widths 3 and 4 differ"},
		{[]int{4, 3}, []int{3}, nil, "want a weight matrix"},
		{[]int{4, 3}, []int{5, 3}, []int{3}, "weight f32[5 3] and bias f32[3]: want one float type and a bias for each output"},
	} {
		g := ops.NewGraph(dev)
		var b *ops.Tensor
		if c.b != nil {
			b = g.Input("", ops.F32, c.b...)
		}
		g.Linear(g.Input("", ops.F32, c.x...), g.Input("", ops.F32, c.w...), b)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "linear_test.go:") {
			t.Errorf("error %v, want %q", err, c.want)
		}
		g.Release()
	}
}
