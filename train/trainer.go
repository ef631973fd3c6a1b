package train

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// Trainer is a model with its optimizer, data and recorded steps: everything a
// run needs but the loop itself. [Run] drives one; drive it yourself for a loop
// of your own.
type Trainer struct {
	cfg      Config
	dev      *vk.Device
	model    Model
	opt      *optim.AdamW
	schedule optim.Schedule
	source   *source
	update   *optim.Update
	passes   []*pass   // forward and backward; one per kind of micro-batch
	apply    *ops.Step // the update, when it is not part of the pass
	iter     int64     // steps done
}

// pass is one recorded forward and backward pass.
type pass struct {
	step *ops.Step
	in   *feed
	loss *ops.Tensor
}

// NewTrainer allocates the optimizer and records the training step: one program
// with the update inside, or, when gradients are accumulated over GradAccum
// micro-batches, one for the first micro-batch, one for the others, and one for
// the update. Close frees all but the model.
func NewTrainer(dev *vk.Device, cfg Config, model Model, tokens *Tokens) (*Trainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Trainer{cfg: cfg, dev: dev, model: model, schedule: cfg.schedule()}
	if err := t.build(tokens); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Trainer) build(tokens *Tokens) (err error) {
	variant := optim.Document
	if t.cfg.AdamW == "torch" {
		variant = optim.Torch
	}
	t.opt, err = optim.NewAdamW(t.model.Params(), &optim.Options{
		Variant: variant,
		Groups: []optim.Group{{Params: t.model.Params().All(), Hyper: optim.Hyper{LR: t.cfg.LRMax,
			Beta1: t.cfg.Betas[0], Beta2: t.cfg.Betas[1], Eps: t.cfg.Eps, WeightDecay: t.cfg.WeightDecay}}},
		MaxNorm: &t.cfg.GradClipNorm,
		Scaler:  t.cfg.scaler(),
	})
	if err != nil {
		return err
	}
	if t.source, err = newSource(t.dev, t.cfg, tokens); err != nil {
		return err
	}
	micro := t.cfg.GradAccum
	for i := range min(micro, 2) {
		g := ops.NewGraph(t.dev)
		p := &pass{in: t.source.feed(g)}
		// The mean over micro-batches: each starts from 1/micro.
		seed := t.opt.LossScale()
		if micro > 1 {
			seed = g.Scale(seed, 1/float32(micro))
		}
		p.loss = t.model.Loss(g, p.in.x, p.in.y)
		g.Backward(p.loss, &ops.BackwardOptions{Seed: seed, Accumulate: i > 0})
		g.Output(p.loss)
		if micro == 1 {
			t.update = t.opt.Record(g)
		}
		if p.step, err = g.Compile(); err != nil {
			g.Release()
			return fmt.Errorf("train: %w", err)
		}
		t.passes = append(t.passes, p)
	}
	if micro > 1 {
		g := ops.NewGraph(t.dev)
		t.update = t.opt.Record(g)
		if t.apply, err = g.Compile(); err != nil {
			g.Release()
			return fmt.Errorf("train: %w", err)
		}
	}
	return nil
}

// Close waits for the device and frees steps and optimizer; the model, the
// tokens and the device stay open.
func (t *Trainer) Close() error {
	var err error
	for _, p := range t.passes {
		err = p.step.Close()
	}
	if t.apply != nil {
		err = t.apply.Close()
	}
	if t.source != nil {
		t.source.close()
	}
	if t.opt != nil {
		t.opt.Release()
	}
	t.passes, t.apply, t.source, t.opt = nil, nil, nil, nil
	return err
}

// Iteration returns how many steps were submitted since the start of the run,
// those before a restored checkpoint included.
func (t *Trainer) Iteration() int64 { return t.iter }

// Memory returns the bytes of device memory that parameters, gradients,
// optimizer state and recorded steps hold.
func (t *Trainer) Memory() int64 { return t.dev.Stats().MemoryBytes }

// Step submits the next training step and returns without waiting for it.
func (t *Trainer) Step() error {
	t.opt.SetLR(t.schedule.At(t.iter))
	micro := int64(t.cfg.GradAccum)
	for i := range micro {
		p := t.passes[min(int(i), len(t.passes)-1)]
		if err := t.source.stage(p.in, t.iter*micro+i); err != nil {
			return err
		}
		if micro == 1 {
			if err := t.update.Stage(p.step); err != nil {
				return err
			}
		}
		if err := p.step.Run(); err != nil {
			return err
		}
	}
	if t.apply != nil {
		if err := t.update.Stage(t.apply); err != nil {
			return err
		}
		if err := t.apply.Run(); err != nil {
			return err
		}
	}
	t.iter++
	return nil
}

// Wait blocks until all submitted steps are done and reports what went wrong on
// the device, such as a token outside the vocabulary.
func (t *Trainer) Wait(ctx context.Context) error {
	for _, p := range t.passes {
		if err := p.step.Wait(ctx); err != nil {
			return fmt.Errorf("train: step %d: %w", t.iter, err)
		}
	}
	if t.apply != nil {
		return t.apply.Wait(ctx)
	}
	return nil
}

// Report waits for the last step and returns its loss (of its last micro-batch),
// its gradient norm before clipping and its learning rate.
func (t *Trainer) Report(ctx context.Context) (loss, norm, lr float64, err error) {
	if err := t.Wait(ctx); err != nil {
		return 0, 0, 0, err
	}
	l, err := ops.Item(ctx, t.passes[len(t.passes)-1].loss)
	if err != nil {
		return 0, 0, 0, err
	}
	norm, err = t.update.Norm(ctx)
	return float64(l), norm, t.schedule.At(max(t.iter-1, 0)), err
}

// Dir returns the folder of the run: checkpoints, metrics, plot, configuration.
func (c Config) Dir() string { return filepath.Join(c.CkptDir, c.RunName) }

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

// scaler turns on dynamic loss scaling where the range of the type needs it.
func (c Config) scaler() *optim.Scaler {
	if c.Storage() == ops.F16 {
		return &optim.Scaler{}
	}
	return nil
}
