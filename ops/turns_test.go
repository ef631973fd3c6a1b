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

// A cache of 600,000 keys, more than a loop of lavapipe turns for, that weigh alike. Half of them have a value of 1.
func TestMoreKeysThanLoopsTurn(t *testing.T) {
	dev := vktest.Open(t)
	const n = 600000
	value := append(make([]float32, 2*n), slices.Repeat([]float32{1}, 2*n)...)
	q := tensor(t, dev, ops.F32, []int{1, 1, 1, 4}, make([]float32, 4))
	k := tensor(t, dev, ops.F32, []int{1, n, 1, 4}, make([]float32, 4*n))
	v := tensor(t, dev, ops.F32, []int{1, n, 1, 4}, value)
	start := tensor(t, dev, ops.U32, []int{4}, []uint32{n - 1, 0, 0, 0})
	g := ops.NewGraph(dev)
	y := g.Attention(q, k, v, &ops.AttentionOptions{Start: start})
	g.Output(y)
	run(t, g)
	opstest.Close(t, values(t, y), []float64{0.5, 0.5, 0.5, 0.5}, 1e-5)
}

// Heads of 256 values take most turns: those that share keys go one after the other, and more positions than loops can go
// through are refused.
func TestMoreOfLargeHeadsThanLoopsTurn(t *testing.T) {
	dev := vktest.Open(t)
	if testing.Short() || !strings.Contains(dev.Info().Name, "llvmpipe") {
		t.Skip("it takes long, and on other devices loops end when they should")
	}
	s := opstest.AttentionShape{Batch: 1, Positions: 128, Heads: 128, KVHeads: 1, Size: 256}
	whole, split := attend(t, dev, ops.F32, s, 1, false), attend(t, dev, ops.F32, s, 1, false, func(g *ops.Graph) { ops.LimitTurns(g, 10) })
	for i, got := range [][]float32{whole.dk, whole.dv} {
		want := [][]float32{split.dk, split.dv}[i]
		wide := make([]float64, len(want))
		for j, v := range want {
			wide[j] = float64(v)
		}
		if e := opstest.RelL2(got, wide); !(e <= 2e-6) {
			t.Errorf("gradient %d of the keys and values: relative error %.3g beside head by head", i, e)
		}
	}
	g := ops.NewGraph(dev)
	q := g.Input("q", ops.F32, 1, 12000, 1, 256)
	g.Attention(q, q, q, nil)
	wantError(t, "12000 positions", g.Err(), "12000 positions are more than loops turn for on this device")
}

// Rows, and groups of a row, of which loops would turn more often than lavapipe lets an invocation, which ends them without a
// word: 2^23 rows of four values, and four rows of 2^23. Rows repeat 1, 2, 3, 4, so that results repeat too.
func TestMoreThanLoopsTurn(t *testing.T) {
	dev := vktest.Open(t)
	if testing.Short() || !strings.Contains(dev.Info().Name, "llvmpipe") {
		t.Skip("it takes memory, and on other devices loops end when they should")
	}
	const n = 1 << 25
	x4, e4 := [4]float64{1, 2, 3, 4}, [4]float64{math.Exp(-3), math.Exp(-2), math.Exp(-1), 1}
	exps := e4[0] + e4[1] + e4[2] + e4[3]
	repeated, results := make([]float32, n), make([]float32, n)
	for i := range repeated {
		repeated[i] = float32(x4[i%4])
	}
	for _, rows := range []int{n / 4, 4} {
		cols := n / rows
		x := tensor(t, dev, ops.F32, []int{rows, cols}, repeated)
		weight := tensor(t, dev, ops.F32, []int{cols}, repeated[:cols])
		one := tensor(t, dev, ops.F32, []int{rows, 1}, slices.Repeat([]float32{1}, rows))
		ids := tensor(t, dev, ops.I32, []int{rows}, make([]int32, rows))
		p := func(i int) float64 { return e4[i%4] / exps / float64(cols/4) }
		loss := math.Log(exps*float64(cols/4)) + 3
		unit := func(i int) float64 { return (x4[i%4] - 2.5) / math.Sqrt(1.25) }
		// gradient is that of w where y, made of w, has the gradient dy.
		gradient := func(g *ops.Graph, w *ops.Tensor, dy *ops.Tensor, y func() *ops.Tensor) *ops.Tensor {
			g.RequireGrad(w)
			ops.BackwardFrom(g, y(), dy, false)
			return g.Grad(w)
		}
		for _, c := range []struct {
			name string
			f    func(g *ops.Graph) *ops.Tensor
			want func(i int) float64
		}{
			{"softmax", func(g *ops.Graph) *ops.Tensor { return g.Softmax(x) }, p},
			{"softmax backward", func(g *ops.Graph) *ops.Tensor {
				return gradient(g, x, x, func() *ops.Tensor { return g.Softmax(x) })
			}, func(i int) float64 { return p(i) * (x4[i%4] - (e4[0]+2*e4[1]+3*e4[2]+4*e4[3])/exps) }},
			{"row sum", func(g *ops.Graph) *ops.Tensor { return g.RowSum(x) }, func(int) float64 { return 2.5 * float64(cols) }},
			{"argmax", func(g *ops.Graph) *ops.Tensor { return g.ArgMax(x) }, func(int) float64 { return 3 }},
			{"RMSNorm", func(g *ops.Graph) *ops.Tensor { return g.RMSNorm(x, weight, 0) },
				func(i int) float64 { return x4[i%4] * x4[i%4] / math.Sqrt(7.5) }},
			{"RMSNorm backward", func(g *ops.Graph) *ops.Tensor {
				return gradient(g, weight, x, func() *ops.Tensor { return g.RMSNorm(x, weight, 0) })
			}, func(i int) float64 { return float64(rows) * x4[i%4] * x4[i%4] / math.Sqrt(7.5) }},
			{"LayerNorm", func(g *ops.Graph) *ops.Tensor { return g.LayerNorm(x, weight, weight, 0) },
				func(i int) float64 { return x4[i%4] * (1 + unit(i)) }},
			{"LayerNorm backward", func(g *ops.Graph) *ops.Tensor {
				return gradient(g, weight, x, func() *ops.Tensor { return g.LayerNorm(x, weight, g.Detach(weight), 0) })
			}, func(i int) float64 { return float64(rows) * x4[i%4] * unit(i) }},
			{"cross-entropy", func(g *ops.Graph) *ops.Tensor {
				loss, _ := g.CrossEntropyEach(x, ids, nil)
				return loss
			}, func(int) float64 { return loss }},
			{"cross-entropy backward", func(g *ops.Graph) *ops.Tensor {
				g.RequireGrad(x)
				g.Backward(g.CrossEntropy(x, ids, nil), &ops.BackwardOptions{Seed: seed(t, g, float64(rows))})
				return g.Grad(x)
			}, func(i int) float64 {
				if i%cols == 0 {
					return p(i) - 1
				}
				return p(i)
			}},
			{"log-probabilities", func(g *ops.Graph) *ops.Tensor { return g.LogProb(x, ids, nil) }, func(int) float64 { return -loss }},
			{"RoPE", func(g *ops.Graph) *ops.Tensor { return g.RoPE(g.View(x, rows, 1, cols/4, 4), nil) },
				func(i int) float64 { return x4[i%4] }}, // position 0
			{"RoPE of halves", func(g *ops.Graph) *ops.Tensor {
				return g.RoPE(g.View(x, rows, 1, cols/4, 4), &ops.RoPEOptions{HalfSplit: true})
			}, func(i int) float64 { return x4[i%4] }},
			{"embedding backward", func(g *ops.Graph) *ops.Tensor {
				return gradient(g, weight, x, func() *ops.Tensor { return g.Embed(g.View(weight, 1, cols), ids) })
			}, func(i int) float64 { return float64(rows) * x4[i%4] }},
			{"linear", func(g *ops.Graph) *ops.Tensor { return g.Linear(x, g.View(weight, 1, cols), nil) },
				func(int) float64 { return 7.5 * float64(cols) }},
			{"linear backward", func(g *ops.Graph) *ops.Tensor {
				return gradient(g, weight, one, func() *ops.Tensor { return g.Linear(x, g.View(weight, 1, cols), nil) })
			}, func(i int) float64 { return float64(rows) * x4[i%4] }},
			{"product by a row", func(g *ops.Graph) *ops.Tensor {
				return gradient(g, weight, x, func() *ops.Tensor { return g.Mul(x, weight) })
			}, func(i int) float64 { return float64(rows) * x4[i%4] * x4[i%4] }},
		} {
			t.Run(fmt.Sprintf("%s of [%d %d]", c.name, rows, cols), func(t *testing.T) {
				g := ops.NewGraph(dev)
				y := c.f(g)
				g.Output(y)
				s := run(t, g)
				defer s.Close()
				got, err := results[:y.Len()], error(nil)
				if y.DType() == ops.I32 {
					whole := make([]int32, len(got))
					err = ops.Download(ctx, y, whole)
					for i, v := range whole {
						got[i] = float32(v)
					}
				} else {
					err = ops.Download(ctx, y, got)
				}
				if err != nil {
					t.Fatal(err)
				}
				var wrong []int
				for i := 0; i < len(got); i += 61 { // a third is wrong, if any
					if want := c.want(i); !(math.Abs(float64(got[i])-want) <= 1e-4*math.Abs(want)) {
						wrong = append(wrong, i)
					}
				}
				if len(wrong) > 0 {
					t.Errorf("%d of %d wrong, the first of them number %d: %v, want %v", len(wrong), len(got)/61+1, wrong[0], got[wrong[0]], c.want(wrong[0]))
				}
			})
		}
		for _, x := range []*ops.Tensor{x, weight, one, ids} {
			x.Release()
		}
	}
}
