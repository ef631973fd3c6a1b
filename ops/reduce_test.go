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

func TestSums(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, shape := range [][]int{{1}, {5}, {7, 3}, {2, 3, 8}, {300, 65}, {3, 4099}, {2, 70001}, {1 << 19}} {
		n, d := 1, shape[len(shape)-1]
		for _, s := range shape {
			n *= s
		}
		for _, dt := range floats {
			if dt == ops.F16 && n > 1<<16 {
				continue // sums and means of so many leave its range
			}
			for _, c := range []struct {
				name   string
				call   func(g *ops.Graph, x *ops.Tensor) *ops.Tensor
				d      int // values per sum
				factor float64
			}{{"sum", (*ops.Graph).Sum, n, 1}, {"mean", (*ops.Graph).Mean, n, 1 / float64(n)},
				{"row sum", (*ops.Graph).RowSum, d, 1}, {"row mean", (*ops.Graph).RowMean, d, 1 / float64(d)}} {
				t.Run(fmt.Sprint(c.name, shape, dt), func(t *testing.T) {
					xv := opstest.Uniform(190, n, 1)
					for i := range xv {
						xv[i] += 1 // sums that matter
					}
					xv = opstest.Round(dt.String(), xv)
					x := tensor(t, dev, dt, shape, xv)
					g := ops.NewGraph(dev)
					g.RequireGrad(x)
					y := c.call(g, x)
					wantShape, wantType := []int{}, ops.F32
					if c.name[0] == 'r' {
						wantShape, wantType = append(slices.Clone(shape[:len(shape)-1]), 1), dt
					}
					if !slices.Equal(y.Shape(), wantShape) || y.DType() != wantType {
						t.Fatalf("result %v, want %s%v", y, wantType, wantShape)
					}
					dy := random(y.DType(), 191, y.Len())
					ops.BackwardFrom(g, y, tensor(t, dev, y.DType(), y.Shape(), dy), false)
					g.Output(y)
					g.Output(g.Grad(x))
					run(t, g)
					want, grad := make([]float64, n/c.d), make([]float64, n)
					for i, v := range xv {
						want[i/c.d] += float64(v) * c.factor
						grad[i] = float64(dy[i/c.d]) * c.factor
					}
					tol := 2e-7
					if y.DType() != ops.F32 {
						tol = opstest.Epsilon(dt.String())
					}
					if e := opstest.RelL2(values(t, y), want); !(e <= tol) {
						t.Errorf("value off by %.2g", e)
					}
					if e := opstest.RelL2(values(t, g.Grad(x)), grad); !(e <= 2*tolerance(dt)) {
						t.Errorf("gradient off by %.2g", e)
					}
				})
			}
		}
	}
}

// A sum may be a loss; means of ones near 1 keep their difference from it.
func TestSumAsLoss(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 2, 3)
	must(t, ops.Upload(ctx, x, []float32{1, 2, 3, 4, 5, 6}))
	g.RequireGrad(x)
	loss := g.Mean(g.Mul(x, x))
	g.Backward(loss, nil)
	g.Output(loss)
	g.Output(g.Grad(x))
	run(t, g)
	opstest.Close(t, values(t, loss), []float64{91. / 6}, 1e-6)
	opstest.Close(t, values(t, g.Grad(x)), []float64{1. / 3, 2. / 3, 1, 4. / 3, 5. / 3, 2}, 1e-6)
}

func TestArgMax(t *testing.T) {
	dev := vktest.Open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, dt := range floats {
		for _, c := range []struct {
			shape []int
			x     []float32
			want  []int32
		}{
			{[]int{3}, []float32{-3, -1, -2}, []int32{1}},
			{[]int{2, 5}, []float32{1, 7, 7, 0, 7, -inf, -inf, -inf, -inf, -inf}, []int32{1, 0}},
			{[]int{2, 2, 3}, []float32{0, nan, inf, inf, 1, nan, float32(math.Copysign(0, -1)), 0, 0, -5, -4, -3}, []int32{1, 2, 0, 2}},
			{[]int{1, 1}, []float32{-9}, []int32{0}},
		} {
			g := ops.NewGraph(dev)
			y := g.ArgMax(tensor(t, dev, dt, c.shape, c.x))
			g.Output(y)
			run(t, g)
			got := make([]int32, y.Len())
			must(t, ops.Download(ctx, y, got))
			if !slices.Equal(got, c.want) || !slices.Equal(y.Shape(), c.shape[:len(c.shape)-1]) {
				t.Errorf("%s%v of %v: %v, want %v", dt, c.shape, c.x, got, c.want)
			}
		}
		const n, d = 70, 1001
		x := random(dt, 192, n*d)
		g := ops.NewGraph(dev)
		y := g.ArgMax(tensor(t, dev, dt, []int{n, d}, x))
		g.Output(y)
		run(t, g)
		got := make([]int32, n)
		must(t, ops.Download(ctx, y, got))
		for i, at := range got {
			row := x[i*d : (i+1)*d]
			if want := slices.Index(row, slices.Max(row)); int(at) != want {
				t.Fatalf("%s row %d: %d, want %d", dt, i, at, want)
			}
		}
	}
}

// The log-probability of each target, and its gradient by a weight for each.
func TestLogProb(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{5}, {1, 2, 3}, {3, 7, 33}, {40, 1000}} {
			for _, own := range []bool{false, true} {
				v := shape[len(shape)-1]
				leading := shape[:len(shape)-1]
				n := 1
				for _, s := range leading {
					n *= s
				}
				xv, ids, dy := random(dt, 193, n*v), opstest.IDs(194, n, v), random(ops.F32, 195, n)
				ignore := -100
				if n > 1 {
					ids[1] = int32(ignore)
				}
				x := tensor(t, dev, dt, shape, xv)
				g := ops.NewGraph(dev)
				if own {
					ops.OwnRows(g)
				}
				g.RequireGrad(x)
				y := g.LogProb(g.Scale(x, 1), tensor(t, dev, ops.I32, leading, ids), &ignore)
				ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, leading, dy), false)
				g.Output(y)
				g.Output(g.Grad(x))
				run(t, g)
				want, grad := make([]float64, n), make([]float64, n*v)
				for i, id := range ids {
					if int(id) == ignore {
						continue
					}
					p := opstest.Softmax64(xv[i*v:(i+1)*v], v)
					want[i] = math.Log(p[id])
					for j := range p {
						grad[i*v+j] = -float64(dy[i]) * p[j]
					}
					grad[i*v+int(id)] += float64(dy[i])
				}
				opstest.Close(t, values(t, y), want, 1e-5)
				if e := opstest.RelL2(values(t, g.Grad(x)), grad); !(e <= 2*tolerance(dt)) {
					t.Errorf("%s%v: gradient off by %.2g", dt, shape, e)
				}
			}
		}
	}
}

func TestReduceErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := func(g *ops.Graph, shape ...int) *ops.Tensor { return g.Input("", ops.F32, shape...) }
	for _, c := range []struct {
		call func(g *ops.Graph)
		want string
	}{
		{func(g *ops.Graph) { g.Sum(nil) }, "ops: sum: argument 0 is nil"},
		{func(g *ops.Graph) { g.Mean(nil) }, "ops: mean: argument 0 is nil"},
		{func(g *ops.Graph) { g.RowMean(nil) }, "ops: row mean: argument 0 is nil"},
		{func(g *ops.Graph) { g.Mean(g.Input("", ops.I32, 3)) }, "ops: mean: i32[3]: want a float type"},
		{func(g *ops.Graph) { g.RowSum(f(g)) }, "ops: row sum: f32[]: want a float type and a dimension"},
		{func(g *ops.Graph) { g.ArgMax(f(g)) }, "ops: argmax: f32[]: want a float type and a dimension"},
		{func(g *ops.Graph) { g.ArgMax(g.Input("", ops.U32, 3)) }, "ops: argmax: u32[3]: want a float type"},
		{func(g *ops.Graph) { g.LogProb(f(g, 2, 3), f(g, 2), nil) }, "ops: log-probability: logits f32[2 3], targets f32[2]: want a float type and an integer type"},
		{func(g *ops.Graph) { g.LogProb(f(g, 2, 3), g.Input("", ops.I32, 3), nil) }, "leading shapes differ"},
	} {
		g := ops.NewGraph(dev)
		c.call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at reduce_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
