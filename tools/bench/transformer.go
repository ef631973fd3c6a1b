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

// smolLM2 is the structure of SmolLM2-135M (Hugging Face, config.json of the
// model), here with the context that is measured.
func smolLM2(context int) nn.TransformerConfig {
	return nn.TransformerConfig{Vocab: 49152, Context: context, Layers: 30, Heads: 9, KVHeads: 3, Width: 576, FFN: 1536,
		Norm: "rmsnorm", NormEps: 1e-5, Activation: "swiglu", Positions: "rope_half", RopeTheta: 1e5, Tied: true, Init: "gpt2"}
}

// transformerStep measures a training step of a model of SmolLM2-135M's shape,
// f32, one sequence of 128 tokens: loss, gradients, clipping and update. With
// quick the model is small.
func transformerStep(dev *vk.Device, c config) (*trainRow, error) {
	cfg, name := smolLM2(128), "SmolLM2-135M"
	if c.quick {
		cfg.Vocab, cfg.Context, cfg.Layers, cfg.Heads, cfg.KVHeads, cfg.Width, cfg.FFN = 256, 32, 2, 2, 1, 64, 128
		name = "small transformer"
	}
	m, err := nn.NewTransformer(dev, ops.F32, cfg, 1)
	if err != nil {
		return nil, err
	}
	defer m.Params().Release()
	row, err := timeTransformer(dev, m, name)
	if err != nil {
		return nil, fmt.Errorf("bench: %s step: %w", name, err)
	}
	return row, nil
}

func timeTransformer(dev *vk.Device, m *nn.Transformer, name string) (*trainRow, error) {
	ctx, cfg := context.Background(), m.Config()
	one := 1.0
	adamw, err := optim.NewAdamW(m.Params(), &optim.Options{MaxNorm: &one})
	if err != nil {
		return nil, err
	}
	defer adamw.Release()
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, 1, cfg.Context), g.Input("y", ops.I32, 1, cfg.Context)
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
		ids := make([]int32, cfg.Context)
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
	return &trainRow{Model: name, Shape: fmt.Sprintf("V=%d L=%d D=%d B=1 T=%d f32", cfg.Vocab, cfg.Layers, cfg.Width, cfg.Context),
		Submissions: uint64(st.Submissions), Dispatches: st.Dispatches, Barriers: st.Barriers,
		Nanos: float64(least), TokensPerSec: float64(cfg.Context) / least.Seconds(), Kernels: shares(times)}, nil
}
