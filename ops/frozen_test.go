package ops_test

import (
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Through frozen weights of every kind of operation that has some, the gradient of
// what feeds into them is the same to the bit, and they have none.
func TestFrozenWeights(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		t.Run(dt.String(), func(t *testing.T) {
			want, weights := throughWeights(t, dev, dt, false, false)
			for _, accumulate := range []bool{false, true} {
				got, none := throughWeights(t, dev, dt, true, accumulate)
				if !slices.Equal(got, want) {
					t.Errorf("accumulating %v: the gradient before frozen weights is another", accumulate)
				}
				if weights != 8 || none != 0 {
					t.Errorf("accumulating %v: %d weights have a gradient, %d when frozen", accumulate, weights, none)
				}
			}
		})
	}
}

// throughWeights returns the gradient of a parameter before a chain of layers, and
// how many of their weights have one too.
func throughWeights(t *testing.T, dev *vk.Device, dt ops.DType, freeze, accumulate bool) (grad []float32, found int) {
	const rows, n, vocab = 12, 16, 20
	first, rest := ops.NewParams(dev, dt), ops.NewParams(dev, dt)
	x := first.Add("x", rows, n)
	table := rest.Add("table", rows, n)
	rms, w, bias := rest.Add("rms", n), rest.Add("w", n, n), rest.Add("bias", n)
	weight, shift, product, head := rest.Add("weight", n), rest.Add("shift", n), rest.Add("product", n, n), rest.Add("head", vocab, n)
	if freeze {
		rest.Freeze()
	}
	for i, p := range []*ops.Params{first, rest} {
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		for j, q := range p.All() {
			must(t, ops.Upload(ctx, q, opstest.Uniform(uint32(100*i+j), q.Len(), 1)))
		}
	}
	must(t, ops.Upload(ctx, first.Banks()[0].Grads, make([]float32, first.Banks()[0].Grads.Len())))
	g := ops.NewGraph(dev)
	ids := g.Input("ids", ops.I32, rows)
	must(t, ops.Upload(ctx, ids, opstest.IDs(7, rows, rows)))
	h := g.Add(x, g.Embed(table, ids))
	h = g.Linear(g.RMSNorm(h, rms, 1e-5), w, bias)
	h = g.Add(h, g.MatMul(g.LayerNorm(h, weight, shift, 1e-5), product))
	loss := g.LinearCrossEntropy(h, head, ids, nil)
	g.Backward(loss, &ops.BackwardOptions{Accumulate: accumulate})
	for _, q := range rest.All() {
		if g.Grad(q) != nil {
			found++
		}
	}
	step, err := g.Compile()
	must(t, err)
	defer step.Close()
	must(t, step.Run())
	must(t, step.Wait(ctx))
	return values(t, first.Grad(x)), found
}
