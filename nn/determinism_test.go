package nn_test

import (
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// The same seed on the same device must give the same bits in every parameter
// after 100 steps, dropout included; another seed must not.
func TestTransformerSameSeedSameBits(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		t.Run(dt.String(), func(t *testing.T) {
			first, again := hundredSteps(t, dev, dt, 7), hundredSteps(t, dev, dt, 7)
			sameParams(t, again, first)
			if dt != ops.F32 {
				return
			}
			other := hundredSteps(t, dev, dt, 8)
			a, b := download(t, first.Params().All()[0]), download(t, other.Params().All()[0])
			if opstest.RelL2(a, b) < 0.1 {
				t.Error("another seed gives almost the same parameters: this test would not see a difference")
			}
		})
	}
}

// hundredSteps trains a tiny model on random tokens, with dropout.
func hundredSteps(t *testing.T, dev *vk.Device, dt ops.DType, seed uint32) *nn.Transformer {
	t.Helper()
	const b, length, vocab = 3, 7, 13
	m, err := nn.NewTransformer(dev, dt, nn.TransformerConfig{
		Vocab: vocab, Context: 8, Layers: 2, Heads: 2, KVHeads: 1, Width: 16, FFN: 20, Norm: "rmsnorm", NormEps: 1e-5,
		Activation: "swiglu", Positions: "rope", RopeTheta: 1e4, Dropout: 0.1, Init: "truncated_normal"}, uint64(seed))
	must(t, err)
	t.Cleanup(m.Params().Release)
	a, err := optim.NewAdamW(m.Params(), nil)
	must(t, err)
	defer a.Release()
	g := ops.NewGraph(dev)
	x, y, random := g.Input("x", ops.I32, b, length), g.Input("y", ops.I32, b, length), g.Input("random", ops.U32, 4)
	g.Train(random)
	g.Backward(m.Loss(g, x, y), nil)
	update := a.Record(g)
	step, err := g.Compile()
	must(t, err)
	defer step.Close()
	for i := range uint32(100) {
		must(t, ops.Upload(ctx, x, opstest.IDs(1000+i, b*length, vocab)))
		must(t, ops.Upload(ctx, y, opstest.IDs(2000+i, b*length, vocab)))
		must(t, ops.Upload(ctx, random, []uint32{i, 0, seed, 0}))
		must(t, update.Stage(step))
		must(t, step.Run())
	}
	must(t, step.Wait(ctx))
	return m
}
