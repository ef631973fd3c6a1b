package benchcmd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// model is a model to measure a training step of, or the decoding of a token.
type model struct {
	name  string
	dtype ops.DType
	cfg   nn.TransformerConfig // of the bigram model, vocabulary and context only
	batch int
	steps int  // of the bigram model, that are timed together
	long  bool // on a processor: it is measured there only where -run asks for it

	decodes bool
}

func (m model) shape() string { return fmt.Sprintf("[%d %d]", m.batch, m.cfg.Context) }

func (m model) structure() string {
	return fmt.Sprintf("%s, V=%d L=%d D=%d", m.dtype, m.cfg.Vocab, m.cfg.Layers, m.cfg.Width)
}

// models lists the bigram model and the presets, at several batches. With quick there are two, small.
func models(c config) []model {
	list := []model{
		{name: "bigram train step", dtype: ops.F32, cfg: nn.TransformerConfig{Vocab: 256, Context: 256}, batch: 32, steps: 200},
		presetModel("shakespeare-char train step", ops.F32, "shakespeare-char", 12, 64),
		decodeModel("tiny decode", ops.F32, "tiny", 64),
	}
	if c.quick {
		list[0].cfg.Context, list[0].batch, list[0].steps = 32, 4, 5
		list[1].cfg.Layers, list[1].batch = 1, 2
		list[2].cfg.Layers = 1
		return list
	}
	list = append(list, presetModel("tiny train step", ops.F32, "tiny", 12, 64), presetModel("SmolLM2-135M train step", ops.F32, "smollm2-135m", 1, 128),
		decodeModel("SmolLM2-135M decode f32", ops.F32, "smollm2-135m", 32))
	for _, m := range []model{
		presetModel("GPT-2 124M train step bf16", ops.BF16, "gpt2-124m", 8, 1024),
		decodeModel("GPT-2 124M decode bf16", ops.BF16, "gpt2-124m", 1024),
		presetModel("GPT-2 124M train step f32", ops.F32, "gpt2-124m", 8, 1024),
		presetModel("SmolLM2-135M train step bf16", ops.BF16, "smollm2-135m", 4, 1024),
		presetModel("tiny train step", ops.F32, "tiny", 96, 64),
		presetModel("shakespeare-char train step", ops.F32, "shakespeare-char", 96, 64),
		presetModel("SmolLM2-135M train step", ops.F32, "smollm2-135m", 4, 128),
		presetModel("GPT-2 124M train step bf16", ops.BF16, "gpt2-124m", 32, 1024),
		decodeModel("GPT-2 124M decode f32", ops.F32, "gpt2-124m", 1024),
		decodeModel("SmolLM2-135M decode bf16", ops.BF16, "smollm2-135m", 1024),
		presetModel("GPT-2 124M train step f32", ops.F32, "gpt2-124m", 1, 1024),
		presetModel("SmolLM2-135M train step f32", ops.F32, "smollm2-135m", 4, 1024),
	} {
		m.long = true
		list = append(list, m)
	}
	return list
}

// presetModel is the model of a preset, trained on windows of so many tokens.
func presetModel(name string, dt ops.DType, preset string, batch, context int) model {
	c, err := train.Preset(preset)
	if err != nil {
		panic(err) // a name of this file
	}
	cfg := c.Transformer()
	cfg.Context = context
	return model{name: name, dtype: dt, cfg: cfg, batch: batch}
}

// decodeModel is the model of a preset, which continues a token until it has so many.
func decodeModel(name string, dt ops.DType, preset string, context int) model {
	m := presetModel(name, dt, preset, 1, context)
	m.decodes = true
	return m
}

// measure trains a few steps. Its error names the model.
func (m model) measure(dev *vk.Device) (*stepRow, error) {
	step := transformerStep
	switch {
	case m.steps > 0:
		step = bigramStep
	case m.decodes:
		step = decodeStep
	}
	row, err := step(dev, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return row, nil
}

func transformerStep(dev *vk.Device, m model) (*stepRow, error) {
	t, err := m.transformer(dev)
	if err != nil {
		return nil, err
	}
	defer t.Params().Release()
	return m.time(dev, t)
}

// transformer is the model with weights like those that training begins with, made on the device: a host draws 124 million for
// seconds.
func (m model) transformer(dev *vk.Device) (*nn.Transformer, error) {
	t, err := nn.ReserveTransformer(dev, m.dtype, m.cfg)
	if err != nil {
		return nil, err
	}
	r, g := newRunning(dev), ops.NewImmediate(dev)
	defer r.release()
	defer g.Release()
	v := values{}
	for _, p := range t.Params().All() {
		switch {
		case len(p.Shape()) > 1:
			r.fillScaled(p, v, 1.0/64)
			v = v.after(p.Len())
		case strings.HasSuffix(p.Name(), ".weight"): // of a norm
			g.Fill(p, 1)
		default:
			g.Fill(p, 0)
		}
	}
	if err := firstError(r.err, g.Err()); err != nil {
		t.Params().Release()
		return nil, err
	}
	return t, nil
}

// trainingStep is a compiled training step with AdamW and clipping, of a model that others own.
type trainingStep struct {
	*ops.Step
	adamw      *optim.Optimizer
	update     *optim.Update
	x, y, loss *ops.Tensor
}

// compile makes the step; with reserve the moments have no memory.
func (m model) compile(dev *vk.Device, t *nn.Transformer, reserve bool) (s *trainingStep, err error) {
	one := 1.0
	adamw, err := optim.NewAdamW(t.Params(), &optim.Options{MaxNorm: &one, Reserve: reserve})
	if err != nil {
		return nil, err
	}
	g := ops.NewGraph(dev)
	defer func() {
		if err != nil {
			adamw.Release()
		}
	}()
	s = &trainingStep{adamw: adamw, x: g.Input("x", ops.I32, m.batch, m.cfg.Context), y: g.Input("y", ops.I32, m.batch, m.cfg.Context)}
	s.loss = t.Loss(g, s.x, s.y)
	g.Backward(s.loss, nil)
	g.Output(s.loss)
	s.update = adamw.Record(g)
	if err := m.fits(g); err != nil {
		return nil, err
	}
	s.Step, err = g.Compile()
	return s, err
}

// fits refuses a step that takes too much memory. Values and gradients are of the model's type, moments f32, and so is a copy of
// 16-bit values.
func (m model) fits(g *ops.Graph) error {
	plan, err := g.Plan()
	if err != nil || g.Device().CompileOnly() {
		return err
	}
	return enough(g.Device().Info(), float64(plan.Arena+plan.Inputs+plan.Owned)+16*float64(m.cfg.Parameters()))
}

func (s *trainingStep) release() {
	s.Close()
	s.adamw.Release()
}

func (m model) time(dev *vk.Device, t *nn.Transformer) (*stepRow, error) {
	ctx, cfg := context.Background(), m.cfg
	step, err := m.compile(dev, t, false)
	if err != nil {
		return nil, err
	}
	defer step.release()
	update, loss := step.update, step.loss

	if err := uploadIDs(ctx, cfg.Vocab, step.x, step.y); err != nil {
		return nil, err
	}
	host := time.Duration(math.MaxInt64) // to stage and submit, on the processor
	run := func() (time.Duration, error) {
		start := time.Now()
		if err := update.Stage(step.Step); err != nil {
			return 0, err
		}
		if err := step.Run(); err != nil {
			return 0, err
		}
		host = min(host, time.Since(start))
		err := step.Wait(ctx)
		return time.Since(start), err
	}
	first, least, wrong, err := fastest(m.patience(dev), run, func() (float32, error) { return ops.Item(ctx, loss) })
	if err != nil {
		return nil, err
	}
	if want := math.Log(float64(cfg.Vocab)); wrong == "" && !(math.Abs(float64(first)-want) < 0.5) {
		wrong = fmt.Sprintf("the first loss is %v, want about log %d = %v", first, cfg.Vocab, want)
	}
	if err := update.Stage(step.Step); err != nil {
		return nil, err
	}
	row, err := m.row(ctx, step.Step, least)
	if err != nil {
		return nil, err
	}
	row.Wrong, row.Host = wrong, float64(host)
	return row, nil
}

// row profiles one more run of a staged step, which takes so long without time stamps.
func (m model) row(ctx context.Context, step *ops.Step, took time.Duration) (*stepRow, error) {
	times, err := step.Profile(ctx)
	if err != nil {
		return nil, err
	}
	device := 0.0
	for _, t := range times {
		device += t.Nanos
	}
	st := step.Stats()
	return &stepRow{Name: m.name, Shape: m.shape(), Model: m.structure(), Nanos: float64(took), Device: device,
		Submissions: uint64(st.Submissions), Dispatches: st.Dispatches, Barriers: st.Barriers,
		TokensPerSec: float64(m.batch*m.cfg.Context) / took.Seconds(), Kernels: shares(times), times: times, counts: step.Counts()}, nil
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

// patience is how long to go on with a step or a text.
func (m model) patience(dev *vk.Device) time.Duration {
	if dev.Info().Kind != vk.CPU {
		return 500 * time.Millisecond
	}
	return 2 * time.Second
}

// fastest runs a step once to warm up, once more, and again while that takes less than the limit in all. It returns the first
// loss, the shortest time, and what is wrong if the second loss is not below it, as the steps see one batch. Later ones may be:
// without a warm-up AdamW goes too far at first, and a model of twelve layers is back above the first loss in the fourth step.
func fastest(limit time.Duration, run func() (time.Duration, error), item func() (float32, error)) (first float32, least time.Duration, wrong string, err error) {
	if least, err = run(); err != nil {
		return 0, 0, "", err
	}
	if first, err = item(); err != nil {
		return 0, 0, "", err
	}
	for took, spent := time.Duration(0), time.Duration(0); spent < limit; spent += took {
		if took, err = run(); err != nil {
			return 0, 0, "", err
		}
		if spent == 0 {
			second, err := item()
			if err != nil {
				return 0, 0, "", err
			}
			if !(second < first) {
				wrong = fmt.Sprintf("the loss went from %v to %v on one batch", first, second)
			}
		}
		least = min(least, took)
	}
	return first, least, wrong, nil
}
