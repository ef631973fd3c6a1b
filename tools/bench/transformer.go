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

// model is a model to measure a training step of.
type model struct {
	name  string
	dtype ops.DType
	cfg   nn.TransformerConfig // of the bigram model, vocabulary and context only
	batch int
	steps int // of the bigram model, that are timed together
}

func (m model) shape() string { return fmt.Sprintf("[%d %d]", m.batch, m.cfg.Context) }

func (m model) structure() string {
	return fmt.Sprintf("%s, V=%d L=%d D=%d", m.dtype, m.cfg.Vocab, m.cfg.Layers, m.cfg.Width)
}

// models lists the bigram model, nanoGPT's recipe for a processor, SmolLM2-135M (the structure of its config.json) with
// one sequence of 128 tokens, and, on GPUs, GPT-2. With quick there are the first two, small.
func models(c config) []model {
	bigram := nn.TransformerConfig{Vocab: 256, Context: 256}
	nano := nn.TransformerConfig{Vocab: 256, Context: 64, Layers: 4, Heads: 4, Width: 128, FFN: 512, Norm: "layernorm",
		NormEps: 1e-5, Activation: "gelu", Positions: "learned", Tied: true, Init: "gpt2"}
	smolLM2 := nn.TransformerConfig{Vocab: 49152, Context: 128, Layers: 30, Heads: 9, KVHeads: 3, Width: 576, FFN: 1536,
		Norm: "rmsnorm", NormEps: 1e-5, Activation: "swiglu", Positions: "rope_half", RopeTheta: 1e5, Tied: true, Init: "gpt2"}
	gpt2 := nn.TransformerConfig{Vocab: 50257, Context: 1024, Layers: 12, Heads: 12, Width: 768, FFN: 3072, Norm: "layernorm",
		NormEps: 1e-5, Activation: "gelu_tanh", Positions: "learned", Tied: true, Bias: true, Init: "gpt2"}
	list := []model{{"bigram train step", ops.F32, bigram, 32, 200}, {"shakespeare-char train step", ops.F32, nano, 12, 0}}
	if c.quick {
		list[0].cfg.Context, list[0].batch, list[0].steps = 32, 4, 5
		list[1].cfg.Layers, list[1].batch = 1, 2
		return list
	}
	list = append(list, model{"SmolLM2-135M train step", ops.F32, smolLM2, 1, 0})
	if c.gpu {
		list = append(list, model{"GPT-2 124M train step f32", ops.F32, gpt2, 8, 0}, model{"GPT-2 124M train step bf16", ops.BF16, gpt2, 8, 0})
	}
	return list
}

// measure trains a few steps. Its error names the model.
func (m model) measure(dev *vk.Device) (*stepRow, error) {
	step := transformerStep
	if m.steps > 0 {
		step = bigramStep
	}
	row, err := step(dev, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return row, nil
}

func transformerStep(dev *vk.Device, m model) (*stepRow, error) {
	t, err := nn.NewTransformer(dev, m.dtype, m.cfg, 1)
	if err != nil {
		return nil, err
	}
	defer t.Params().Release()
	return m.time(dev, t)
}

// trainingStep is a compiled training step with AdamW and clipping, of a model that others own.
type trainingStep struct {
	*ops.Step
	adamw      *optim.Optimizer
	update     *optim.Update
	x, y, loss *ops.Tensor
}

// compile makes the step; with reserve the moments have no memory.
func (m model) compile(dev *vk.Device, t *nn.Transformer, reserve bool) (*trainingStep, error) {
	one := 1.0
	adamw, err := optim.NewAdamW(t.Params(), &optim.Options{MaxNorm: &one, Reserve: reserve})
	if err != nil {
		return nil, err
	}
	g := ops.NewGraph(dev)
	s := &trainingStep{adamw: adamw, x: g.Input("x", ops.I32, m.batch, m.cfg.Context), y: g.Input("y", ops.I32, m.batch, m.cfg.Context)}
	s.loss = t.Loss(g, s.x, s.y)
	g.Backward(s.loss, nil)
	g.Output(s.loss)
	s.update = adamw.Record(g)
	if s.Step, err = g.Compile(); err != nil {
		adamw.Release()
		return nil, err
	}
	return s, nil
}

func (s *trainingStep) release() {
	s.Close()
	s.adamw.Release()
}

func (m model) time(dev *vk.Device, t *nn.Transformer) (*stepRow, error) {
	ctx, cfg, batch := context.Background(), m.cfg, m.batch
	step, err := m.compile(dev, t, false)
	if err != nil {
		return nil, err
	}
	defer step.release()
	update, loss := step.update, step.loss

	if err := uploadIDs(ctx, cfg.Vocab, step.x, step.y); err != nil {
		return nil, err
	}
	run := func() (time.Duration, error) {
		start := time.Now()
		if err := update.Stage(step.Step); err != nil {
			return 0, err
		}
		if err := step.Run(); err != nil {
			return 0, err
		}
		err := step.Wait(ctx)
		return time.Since(start), err
	}
	first, least, wrong, err := fastest(run, func() (float32, error) { return ops.Item(ctx, loss) })
	if err != nil {
		return nil, err
	}
	if want := math.Log(float64(cfg.Vocab)); wrong == "" && !(math.Abs(float64(first)-want) < 0.5) {
		wrong = fmt.Sprintf("the first loss is %v, want about log %d = %v", first, cfg.Vocab, want)
	}
	if err := update.Stage(step.Step); err != nil {
		return nil, err
	}
	times, err := step.Profile(ctx)
	if err != nil {
		return nil, err
	}
	st := step.Stats()
	return &stepRow{Name: m.name, Shape: m.shape(), Model: m.structure(), Wrong: wrong,
		Submissions: uint64(st.Submissions), Dispatches: st.Dispatches, Barriers: st.Barriers,
		Nanos: float64(least), TokensPerSec: float64(batch*cfg.Context) / least.Seconds(), Kernels: shares(times), times: times}, nil
}

// uploadIDs fills tensors with ids below vocab, the same ones each time.
func uploadIDs(ctx context.Context, vocab int, list ...*ops.Tensor) error {
	for i, t := range list {
		ids := make([]int32, t.Len())
		for j := range ids {
			ids[j] = idBelow(1000+i+j, vocab)
		}
		if err := ops.Upload(ctx, t, ids); err != nil {
			return err
		}
	}
	return nil
}

// fastest runs a step once to warm up, once more, and again while that takes less than two seconds in all. It returns the first
// loss, the shortest time, and what is wrong if the loss did not fall, as the steps see one batch.
func fastest(run func() (time.Duration, error), item func() (float32, error)) (first float32, least time.Duration, wrong string, err error) {
	if least, err = run(); err != nil {
		return 0, 0, "", err
	}
	if first, err = item(); err != nil {
		return 0, 0, "", err
	}
	for took, spent := time.Duration(0), time.Duration(0); spent < 2*time.Second; spent += took {
		if took, err = run(); err != nil {
			return 0, 0, "", err
		}
		least = min(least, took)
	}
	last, err := item()
	if !(last < first) {
		wrong = fmt.Sprintf("the loss went from %v to %v on one batch", first, last)
	}
	return first, least, wrong, err
}
