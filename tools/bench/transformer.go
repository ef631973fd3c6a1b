package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// transformerSteps measures a training step of models, f32: nanoGPT's recipe for
// a processor, and SmolLM2-135M (the structure of its config.json) with one
// sequence of 128 tokens. With quick there is one that is small.
func transformerSteps(dev *vk.Device, c config, each func(*trainRow)) error {
	nano := nn.TransformerConfig{Vocab: 256, Context: 64, Layers: 4, Heads: 4, Width: 128, FFN: 512, Norm: "layernorm",
		NormEps: 1e-5, Activation: "gelu", Positions: "learned", Tied: true, Init: "gpt2"}
	smolLM2 := nn.TransformerConfig{Vocab: 49152, Context: 128, Layers: 30, Heads: 9, KVHeads: 3, Width: 576, FFN: 1536,
		Norm: "rmsnorm", NormEps: 1e-5, Activation: "swiglu", Positions: "rope_half", RopeTheta: 1e5, Tied: true, Init: "gpt2"}
	models := []struct {
		name  string
		cfg   nn.TransformerConfig
		batch int
	}{{"shakespeare-char", nano, 12}, {"SmolLM2-135M", smolLM2, 1}}
	if c.quick {
		models = models[:1]
		models[0].cfg.Layers, models[0].batch = 1, 2
	}
	for _, m := range models {
		row, err := transformerStep(dev, m.name, m.cfg, m.batch)
		if err != nil {
			return fmt.Errorf("bench: %s step: %w", m.name, err)
		}
		each(row)
	}
	return nil
}

func transformerStep(dev *vk.Device, name string, cfg nn.TransformerConfig, batch int) (*trainRow, error) {
	m, err := nn.NewTransformer(dev, ops.F32, cfg, 1)
	if err != nil {
		return nil, err
	}
	defer m.Params().Release()
	return timeTransformer(dev, m, name, batch)
}

func timeTransformer(dev *vk.Device, m *nn.Transformer, name string, batch int) (*trainRow, error) {
	ctx, cfg := context.Background(), m.Config()
	one := 1.0
	adamw, err := optim.NewAdamW(m.Params(), &optim.Options{MaxNorm: &one})
	if err != nil {
		return nil, err
	}
	defer adamw.Release()
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, batch, cfg.Context), g.Input("y", ops.I32, batch, cfg.Context)
	loss := m.Loss(g, x, y)
	g.Backward(loss, nil)
	g.Output(loss)
	update := adamw.Record(g)
	step, err := g.Compile()
	if err != nil {
		return nil, err
	}
	defer step.Close()

	for i, in := range []*ops.Tensor{x, y} {
		ids := make([]int32, batch*cfg.Context)
		for j := range ids {
			ids[j] = idBelow(1000+i+j, cfg.Vocab)
		}
		if err := ops.Upload(ctx, in, ids); err != nil {
			return nil, err
		}
	}
	run := func() (time.Duration, error) {
		start := time.Now()
		if err := update.Stage(step); err != nil {
			return 0, err
		}
		if err := step.Run(); err != nil {
			return 0, err
		}
		err := step.Wait(ctx)
		return time.Since(start), err
	}
	took, err := run()
	if err != nil {
		return nil, err
	}
	first, err := ops.Item(ctx, loss)
	if err != nil {
		return nil, err
	}
	if want := math.Log(float64(cfg.Vocab)); !(math.Abs(float64(first)-want) < 0.5) {
		return nil, fmt.Errorf("the first loss is %v, want about log %d = %v", first, cfg.Vocab, want)
	}
	// A second step, and more where they are short: the first one warms up.
	least := took
	for spent := time.Duration(0); spent < 2*time.Second; spent += took {
		if took, err = run(); err != nil {
			return nil, err
		}
		least = min(least, took)
	}
	last, err := ops.Item(ctx, loss)
	if err != nil {
		return nil, err
	}
	if !(last < first) {
		return nil, fmt.Errorf("the loss went from %v to %v on one batch", first, last)
	}
	if err := update.Stage(step); err != nil {
		return nil, err
	}
	times, err := step.Profile(ctx)
	if err != nil {
		return nil, err
	}
	st := step.Stats()
	return &trainRow{Model: name, Shape: fmt.Sprintf("V=%d L=%d D=%d B=%d T=%d f32", cfg.Vocab, cfg.Layers, cfg.Width, batch, cfg.Context),
		Submissions: uint64(st.Submissions), Dispatches: st.Dispatches, Barriers: st.Barriers,
		Nanos: float64(least), TokensPerSec: float64(batch*cfg.Context) / least.Seconds(), Kernels: shares(times)}, nil
}
