package ops_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// headed is logits = hidden·weightᵀ with a loss, of either kind.
type headed struct {
	hidden, weight, targets *ops.Tensor
}

func (h headed) sum(g *ops.Graph, fused bool, o *ops.CrossEntropyOptions) (sum, count *ops.Tensor) {
	if fused {
		return g.LinearCrossEntropySum(h.hidden, h.weight, h.targets, o)
	}
	return g.CrossEntropySum(g.Linear(h.hidden, h.weight, nil), h.targets, o)
}

func (h headed) mean(g *ops.Graph, fused bool, o *ops.CrossEntropyOptions) *ops.Tensor {
	if fused {
		return g.LinearCrossEntropy(h.hidden, h.weight, h.targets, o)
	}
	return g.CrossEntropy(g.Linear(h.hidden, h.weight, nil), h.targets, o)
}

// The sum is the reference's mean times its count, with its gradient; none of the
// targets may count. SumOf makes the same of a mean, and each runs at once too.
func TestSpec1CrossEntropySum(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v, ignore = 150, 8, 11, 3
	hidden, weight := random(ops.F32, 31, n*d), random(ops.F32, 32, v*d)
	some := opstest.IDs(33, n, v)
	none := make([]int32, n)
	for i := range none {
		none[i] = ignore
	}
	for _, fused := range []bool{false, true} {
		for _, kind := range []string{"sum", "sum of", "at once"} {
			for name, ids := range map[string][]int32{"some": some, "none": none} {
				t.Run(fmt.Sprint("fused=", fused, " ", kind, " ", name), func(t *testing.T) {
					g := ops.NewGraph(dev)
					if kind == "at once" {
						g.Release()
						g = ops.NewImmediate(dev)
						t.Cleanup(g.Release)
					}
					ops.SetHead(g, 1) // several chunks
					o := &ops.CrossEntropyOptions{IgnoreIndex: new(ignore), LabelSmoothing: 0.1, ZLoss: 0.01}
					h := headed{tensor(t, dev, ops.F32, []int{n, d}, hidden), tensor(t, dev, ops.F32, []int{v, d}, weight), tensor(t, dev, ops.I32, []int{n}, ids)}
					g.RequireGrad(h.hidden)
					var sum, count *ops.Tensor
					if kind == "sum of" {
						sum = h.mean(g, fused, o)
						var ok bool
						if count, ok = g.Updater().SumOf(sum); !ok {
							t.Fatal("not a mean")
						}
					} else {
						sum, count = h.sum(g, fused, o)
					}
					g.Backward(sum, nil)
					for _, x := range []*ops.Tensor{sum, count, g.Grad(h.hidden)} {
						g.Output(x)
					}
					must(t, g.Err())
					if kind != "at once" {
						run(t, g)
					}
					id := int32(ignore)
					valid := 0
					for _, target := range ids {
						if target != id {
							valid++
						}
					}
					if got := values(t, count)[0]; got != float32(valid) {
						t.Errorf("count %v, want %d", got, valid)
					}
					if kind == "at once" {
						if got := values(t, ops.Padded(count)); got[1] != 0 || got[2] != 0 || got[3] != 0 {
							t.Errorf("the padding of the count is %v, want zeros", got[1:])
						}
					}
					if valid == 0 {
						opstest.Close(t, values(t, sum), []float64{0}, 0)
						opstest.Close(t, values(t, g.Grad(h.hidden)), make([]float64, n*d), 0)
						return
					}
					r := opstest.LinearCrossEntropy64(hidden, weight, ids, d, v,
						opstest.CrossEntropyOptions{Ignore: &id, Smoothing: 0.1, ZLoss: 0.01, Scale: float64(valid)})
					opstest.Close(t, values(t, sum), []float64{r.Loss * float64(valid)}, 2e-6)
					if e := opstest.RelL2(values(t, g.Grad(h.hidden)), r.DHidden); !(e <= 1e-6) {
						t.Errorf("the gradient is off by %.3g", e)
					}
				})
			}
		}
	}
}

// A target outside the vocabulary is found in a sum too.
func TestSpec1CrossEntropySumBadTarget(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	sum, _ := g.CrossEntropySum(tensor[float32](t, dev, ops.F32, []int{3, 4}, nil), tensor(t, dev, ops.I32, []int{3}, []int32{0, 4, 1}), nil)
	g.Output(sum)
	s := compile(t, g)
	must(t, s.Run())
	var bad *ops.BadIndexError
	if err := s.Wait(ctx); !errors.As(err, &bad) || bad.Position != 1 || bad.Value != 4 || bad.Op != "cross-entropy sum" {
		t.Errorf("error %v, want index 4 at position 1", err)
	}
}

// What is no mean, or has been used as one, stays as it is.
func TestSumOfRefuses(t *testing.T) {
	dev := vktest.Open(t)
	for name, build := range map[string]func(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor{
		"a sum":  func(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor { sum, _ := g.CrossEntropySum(x, y, nil); return sum },
		"scaled": func(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor { return g.Scale(g.CrossEntropy(x, y, nil), 2) },
		"used": func(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
			l := g.CrossEntropy(x, y, nil)
			g.Output(g.Scale(l, 2))
			return l
		},
		"backward": func(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
			l := g.CrossEntropy(x, y, nil)
			g.Backward(l, nil)
			return l
		},
		"recomputed": func(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
			return g.Recompute(x, func(x *ops.Tensor) *ops.Tensor { return g.CrossEntropy(x, y, nil) })
		},
	} {
		g := ops.NewGraph(dev)
		x := tensor(t, dev, ops.F32, []int{2, 3}, []float32{1, 2, 3, 1, 0, -1})
		g.RequireGrad(x)
		loss := build(g, x, tensor(t, dev, ops.I32, []int{2}, []int32{2, 0}))
		if _, ok := g.Updater().SumOf(loss); ok {
			t.Errorf("%s: SumOf accepts it", name)
		}
		must(t, g.Err())
		g.Release()
	}
}
