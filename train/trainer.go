package train

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/vk"
)

// Trainer is a model with its optimizer, data and recorded steps: everything a
// run needs but the loop itself. [Run] drives one; drive it yourself for a loop
// of your own.
//
// A step of GradAccum batches has the gradient of one large batch up to rounding:
// sums run in another order, so its bits are not those of the large batch. They
// are the same from run to run: batches come in their order, f32 gradients take
// each share as it is found, 16-bit gradients of a batch are rounded as always and
// added in f32. Loss and gradient of a step are the mean over all its targets,
// however many each batch ignores, where Loss returns what CrossEntropy or
// LinearCrossEntropy did; else they are the mean over its batches.
type Trainer struct {
	cfg      Config
	data     *data.Identity // for checkpoints; nil where it isn't known
	dev      *vk.Device
	model    Model
	sets     []*ops.Params // of the model's parameters
	empty    string        // the first parameter that was only reserved when the trainer was made, "" for none
	opt      *optim.Optimizer
	schedule optim.Schedule
	rates    []float64 // of each group, as shares of the schedule's
	source   *source
	in       *feed
	random   *ops.Tensor // u32[4] input: what dropout draws from
	update   *optim.Update
	reduce   []Reduce
	pass     *recording  // forward and backward, with the update in it unless gradients are accumulated or reduced
	apply    *recording  // else: the update after GradAccum passes
	total    *ops.Tensor // else: the sum of the losses of these passes
	loss     *ops.Tensor // of the last step
	health   *recording  // the norms of the state
	norms    []*ops.Tensor
	detect   bool              // run each step op by op
	found    *ops.AnomalyError // in the step that runs
	iter     int64             // steps done
	before   Config            // of the checkpoint that was restored
	origin   hf.Origin
	from     *modelIdentity // of the model that training started from, or nil
	inspect  func() error   // called in each step that has its gradients whole, before an update that is apart; nil for nothing
}

// Reduce is called once a step, after the backward pass and before the update, by
// processes that train together: it replaces each tensor by its mean over all of
// them. The tensors are the arenas of the gradients in f32 or the parameters' type,
// always the same ones, and two small ones: how many targets the gradients are
// sums over, and the sum of the losses. [ops.Download] and [ops.Upload] wait for the
// device. Then all processes that began with the same parameters go on with the same
// ones, whatever each has drawn: norm, clipping and the decision to skip a step
// come after it. An error is the step's, and final: what was added up stays, so
// close the trainer.
type Reduce func(tensors []*ops.Tensor) error

// NewTrainer allocates the optimizer and records the training step: one program
// with the update inside, or, when gradients are accumulated over GradAccum
// micro-batches or there is something to call before the update, one for a
// micro-batch and one for the update. It refuses a device that has too little
// memory before it allocates any. Close frees all but the model.
func NewTrainer(dev *vk.Device, cfg Config, model Model, tokens *data.Tokens, reduce ...Reduce) (*Trainer, error) {
	if err := checkDevice(dev); err != nil {
		return nil, fmt.Errorf("train: new trainer: %w", err)
	}
	before := dev.Stats()
	t, err := newTrainer(dev, cfg, model, tokens, reduce)
	if err != nil {
		return nil, err
	}
	plan, err := t.memory(before)
	if err == nil {
		err = plan.fits(dev.Info())
	}
	if err == nil {
		err = t.compile()
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// newTrainer builds everything but allocates nothing large; compile does.
func newTrainer(dev *vk.Device, cfg Config, model Model, tokens *data.Tokens, reduce []Reduce) (*Trainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := checkModel(model); err != nil {
		return nil, fmt.Errorf("train: new trainer: %w", err)
	}
	if tokens == nil {
		return nil, errors.New("train: new trainer: no tokens to train on")
	}
	cfg, err := cfg.described(model)
	if err != nil {
		return nil, err
	}
	t := &Trainer{cfg: cfg, dev: dev, model: model, sets: paramSets(model), empty: reserved(model), schedule: cfg.schedule(), reduce: reduce}
	if err := t.build(tokens); err != nil {
		t.Close()
		return nil, err
	}
	if err := checkRules(t.opt.Groups()); err != nil {
		t.Close()
		return nil, fmt.Errorf("train: new trainer: %w", err)
	}
	return t, nil
}

// apart reports whether pass and update are two programs.
func (t *Trainer) apart() bool { return t.cfg.GradAccum > 1 || len(t.reduce) > 0 }

func (t *Trainer) buildOptimizer() error {
	groups, err := t.cfg.groups(t.model)
	if err != nil {
		return err
	}
	for _, g := range groups {
		share := 1.0
		if g.LR != t.cfg.LRMax {
			share = g.LR / t.cfg.LRMax
		}
		t.rates = append(t.rates, share)
	}
	maxNorm := float64(t.cfg.GradClipNorm)
	t.opt, err = optim.New(&optim.Options{Groups: groups, MaxNorm: &maxNorm, Scaler: t.cfg.scaler(), Accumulate: t.apart(), Reserve: true}, t.sets...)
	if err != nil {
		return err
	}
	return checkNames(t.tensors())
}

func (t *Trainer) build(tokens *data.Tokens) error {
	err := t.buildOptimizer()
	if err != nil {
		return err
	}
	micro, apart := t.cfg.GradAccum, t.apart()
	if t.source, err = newSource(t.dev, t.cfg, tokens); err != nil {
		return err
	}
	g := t.cfg.newGraph(t.dev)
	t.pass = &recording{graph: g}
	t.in = t.source.feed(g)
	t.random = g.Input("random", ops.U32, 4)
	g.Train(t.random)
	if t.loss, err = lossOf(t.model, g, t.in.x, t.in.y); err != nil {
		return err
	}
	count, sum := (*ops.Tensor)(nil), false
	if apart {
		count, sum = g.Updater().SumOf(t.loss)
	}
	if sum {
		t.opt.BackwardSum(g, t.loss, count, micro*t.in.y.Len())
	} else {
		t.opt.Backward(g, t.loss, 1/float32(micro))
	}
	if apart {
		if t.total, err = ops.NewTensor(t.dev, ops.F32, t.loss.Shape()...); err != nil {
			return fmt.Errorf("train: %w", err)
		}
		g.AddTo(t.loss, t.total)
		g = t.cfg.newGraph(t.dev)
		t.apply = &recording{graph: g}
		g.Updater().Heed(t.pass.graph)
		if sum {
			t.loss = g.Div(t.total, t.opt.Counted())
		} else {
			t.loss = g.Scale(t.total, 1/float32(micro))
		}
		g.Fill(t.total, 0)
	}
	t.update = t.opt.Record(g)
	g.Output(t.loss)
	t.health = &recording{graph: ops.NewGraph(t.dev)}
	t.norms = t.opt.RecordNorms(t.health.graph)
	return nil
}

// recordings lists what there is to compile: what a step submits comes first.
func (t *Trainer) recordings() []*recording {
	return slices.DeleteFunc([]*recording{t.pass, t.apply, t.health}, func(r *recording) bool { return r == nil })
}

// compile allocates and records.
func (t *Trainer) compile() error {
	if err := t.source.upload(); err != nil {
		return err
	}
	for _, r := range t.recordings() {
		if err := r.compile(); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	return nil
}

// Close waits for the device and frees steps and optimizer; the model, the
// tokens and the device stay open.
func (t *Trainer) Close() error {
	var err error
	for _, r := range t.recordings() {
		err = errors.Join(err, r.close())
	}
	if t.source != nil {
		t.source.close()
	}
	if t.opt != nil {
		t.opt.Release()
	}
	t.total.Release()
	t.pass, t.apply, t.health, t.source, t.opt = nil, nil, nil, nil, nil
	return err
}

// open is the error of every call that needs what Close has freed.
func (t *Trainer) open() error {
	if t.pass == nil {
		return errors.New("train: the trainer is closed")
	}
	for _, p := range t.sets {
		if p.Banks() == nil {
			return errors.New("train: the parameters of the model were released")
		}
	}
	return nil
}

// Iteration returns how many steps were submitted since the start of the run,
// those before a restored checkpoint included.
func (t *Trainer) Iteration() int64 { return t.iter }

// Step submits the next training step and returns without waiting for it.
func (t *Trainer) Step() error {
	if err := t.open(); err != nil {
		return err
	}
	t.setRates()
	micro := int64(t.cfg.GradAccum)
	for i := range micro {
		if err := t.stage(t.iter*micro + i); err != nil {
			return err
		}
		if t.apply == nil {
			if err := t.update.Stage(t.pass.step); err != nil {
				return err
			}
		}
		if err := t.run(t.pass); err != nil {
			return err
		}
	}
	for _, reduce := range t.reduce {
		if err := reduce(append(t.opt.Gradients(), t.total)); err != nil {
			return fmt.Errorf("train: step %d: reduce: %w", t.iter, err)
		}
	}
	if t.inspect != nil {
		if err := t.inspect(); err != nil {
			return err
		}
	}
	if t.apply != nil {
		if err := t.update.Stage(t.apply.step); err != nil {
			return err
		}
		if err := t.run(t.apply); err != nil {
			return err
		}
	}
	t.iter++
	return t.anomaly()
}

// setRates gives each group its rate of the next step.
func (t *Trainer) setRates() {
	lr, groups := t.schedule.At(t.iter), t.opt.Groups()
	for i, share := range t.rates {
		groups[i].LR = lr * share
	}
}

// dropoutKey keeps the numbers of dropout apart from those of the batches,
// which are drawn with the same seed.
const dropoutKey = 0x64726f706f757421

// stage makes micro-batch k of the run the next pass's.
func (t *Trainer) stage(k int64) error {
	seed := t.cfg.Seed ^ dropoutKey ^ uint64(t.cfg.Rank)<<32
	if err := ops.Upload(context.Background(), t.random, []uint32{uint32(k), uint32(uint64(k) >> 32), uint32(seed), uint32(seed >> 32)}); err != nil {
		return err
	}
	return t.source.stage(t.in, k)
}

// Wait blocks until all submitted steps are done and reports what went wrong on
// the device, such as a token outside the vocabulary.
func (t *Trainer) Wait(ctx context.Context) error {
	if err := t.open(); err != nil {
		return err
	}
	for _, r := range t.recordings() {
		if err := r.step.Wait(ctx); err != nil {
			return fmt.Errorf("train: step %d: %w", t.iter, explainPad(err))
		}
	}
	return nil
}

// Optimizer returns the optimizer, for its slots and groups.
func (t *Trainer) Optimizer() *optim.Optimizer { return t.opt }

// Skipped waits for the submitted steps and returns how many steps of the run
// changed nothing, because the norm of their gradient was not finite, or so large
// that squares overflow (see [optim.Options]).
func (t *Trainer) Skipped(ctx context.Context) (int64, error) {
	if err := t.open(); err != nil {
		return 0, err
	}
	st, err := t.opt.State(ctx)
	return int64(st.Skips), err
}

// Report waits for the last step and returns its loss (the mean over its
// micro-batches), its gradient norm before clipping and its learning rate.
func (t *Trainer) Report(ctx context.Context) (loss, norm, lr float64, err error) {
	if err := t.Wait(ctx); err != nil {
		return 0, 0, 0, err
	}
	l, err := ops.Item(ctx, t.loss)
	if err != nil {
		return 0, 0, 0, err
	}
	norm, err = t.update.Norm(ctx)
	return float64(l), norm, t.schedule.At(max(t.iter-1, 0)), err
}

// Storage returns how parameters, gradients and activations are stored.
func (c Config) Storage() ops.DType {
	switch {
	case !c.MixedPrecision:
		return ops.F32
	case c.HalfType == "f16":
		return ops.F16
	}
	return ops.BF16
}

// newGraph returns a graph for operations of a step.
func (c Config) newGraph(dev *vk.Device) *ops.Graph {
	g := ops.NewGraph(dev)
	g.SetMatMulPrecision(c.MatMulPrecision)
	return g
}

// scaler turns on dynamic loss scaling where the range of the type needs it.
func (c Config) scaler() *optim.Scaler {
	if c.Storage() == ops.F16 {
		return &optim.Scaler{}
	}
	return nil
}
