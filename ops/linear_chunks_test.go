package ops_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// With d weight a chunk of logits takes up to an eighth of what the model before the head holds, so that the sum of
// d weight is read and written less often. Recomputing the model does not change the bits.
func TestLinearCrossEntropyChunksGrowWithTheModel(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v, layers = 1024, 64, 512, 40
	const smallest = n / 128 // chunks
	h, w, targets := opstest.Uniform(40, n*d, 1), opstest.Uniform(41, v*d, 1), opstest.IDs(42, n, v)
	pass := func(dt ops.DType, recompute, frozen bool) (dw []float32, chunks int, arena int64) {
		p := ops.NewParams(dev, dt)
		weight := p.Add("head", v, d)
		if frozen {
			p.Freeze()
		}
		if err := errors.Join(p.Alloc(), ops.Upload(ctx, weight, w)); err != nil {
			t.Fatal(err)
		}
		defer p.Release()
		g := ops.NewGraph(dev)
		ops.SetHead(g, 1)
		x := tensor(t, dev, dt, []int{n, d}, h)
		g.RequireGrad(x)
		model := func(x *ops.Tensor) *ops.Tensor {
			for range layers {
				x = g.SiLU(x)
			}
			return x
		}
		y := x
		if recompute {
			y = g.Recompute(x, model)
		} else {
			y = model(x)
		}
		g.Backward(g.LinearCrossEntropy(y, weight, tensor(t, dev, ops.I32, []int{n}, targets), nil), nil)
		g.Output(g.Grad(x))
		s := run(t, g)
		for _, k := range ops.Kernels(g) {
			if strings.HasPrefix(k, "crossentropy") {
				chunks++
			}
		}
		if !frozen {
			dw = values(t, p.Grad(weight))
		}
		return dw, chunks, s.Stats().ArenaBytes
	}
	for _, dt := range floats {
		dw, chunks, arena := pass(dt, false, false)
		if logits := int64(4 * v * n / chunks); chunks >= smallest || logits > arena/8 {
			t.Errorf("%s: %d chunks of %d bytes, the intermediates are %d", dt, chunks, logits, arena)
		}
		if again, _, less := pass(dt, true, false); !slices.Equal(again, dw) || less >= arena {
			t.Errorf("%s: other gradients when the model is recomputed, or not in less memory: %d bytes, %d without", dt, less, arena)
		}
		if _, chunks, _ := pass(dt, false, true); chunks != smallest {
			t.Errorf("%s: %d chunks for a frozen head, want the smallest", dt, chunks)
		}
	}
}
