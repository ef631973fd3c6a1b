package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
	"github.com/lemnos-ml/lemnos/vk"
)

// accept checks the data against the configuration, and writes there what they are.
func accept(ctx context.Context, cfg *Config, corpus *data.Corpus, h Hooks) error {
	if corpus.Identity() == nil {
		if err := corpus.Check(ctx, cfg.Vocab, cfg.ContextLen, &data.Listener{Logger: h.Logger, Phase: h.Phase}); err != nil {
			return beforeSteps(ctx, err)
		}
	}
	if corpus.Val == nil && cfg.ValFraction > 0 {
		return errors.New("train: run: there are tokens to train on and none to evaluate on: give Val, or set val_fraction to 0")
	}
	if corpus.Name() == "" && cfg.Data == "" {
		cfg.Data = ownData
	}
	if corpus.Tokenizer != nil {
		cfg.Tokenizer = corpus.Tokenizer.Name()
	}
	for _, warning := range cfg.Warnings() {
		h.Logger.Warn(warning)
	}
	return nil
}

// finished reports whether there is nothing to do, or why the run can't go on.
func finished(cfg Config, model Model, h Hooks) (bool, error) {
	if err := cfg.CheckFolder(h.Fresh); err != nil || h.Fresh {
		return false, err
	}
	cfg, err := cfg.described(model)
	if err != nil {
		return false, err
	}
	step, done, err := cfg.CheckResume()
	if done {
		h.Logger.Info("nothing to do: the run has come to its last step", "step", step, "total_steps", cfg.TotalSteps)
	}
	return done, err
}

// beforeSteps makes the error of an ended context that of an interrupted run.
func beforeSteps(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w before a step was done: %w", ErrInterrupted, context.Cause(ctx))
}

// ready compiles all kernels, and records the step.
func (t *Trainer) ready(ctx context.Context, h Hooks) error {
	if err := compileKernels(ctx, t.dev, h.start("compiling kernels", 0, "kernels")); err != nil {
		return err
	}
	if err := t.compile(); err != nil {
		return err
	}
	if h.Counts != nil {
		h.Counts(t.counts())
	}
	return nil
}

// counts is what a step does: that of all its passes, and of the update.
func (t *Trainer) counts() []ops.OpCount {
	all := t.pass.step.Counts()
	for i := range all {
		n, c := t.cfg.GradAccum, &all[i]
		c.Times, c.Dispatches, c.Barriers = n*c.Times, n*c.Dispatches, n*c.Barriers
		c.Bytes, c.Least, c.FLOPs = int64(n)*c.Bytes, int64(n)*c.Least, int64(n)*c.FLOPs
	}
	if t.apply != nil {
		all = append(all, t.apply.step.Counts()...)
	}
	return all
}

// compileKernels compiles those of all graphs.
func compileKernels(ctx context.Context, dev *vk.Device, m *meter.Meter) error {
	err := dev.Compile(ctx, func(done, total int) { m.Set(int64(done), int64(total)) })
	if err != nil {
		return beforeSteps(ctx, fmt.Errorf("train: %w", err))
	}
	m.End()
	return nil
}

// ready compiles the evaluation and returns the unigram entropy, NaN where there is no evaluation.
func (e *Evaluator) ready(ctx context.Context, training *data.Tokens, vocab int, h Hooks) (float64, error) {
	if e == nil {
		return math.NaN(), nil
	}
	if err := e.compile(); err != nil {
		return 0, err
	}
	m := h.start("counting tokens", training.Len(), "tokens")
	unigram, err := e.unigramEntropy(ctx, training, vocab, m)
	if err != nil {
		return 0, beforeSteps(ctx, err)
	}
	m.End()
	return unigram, nil
}

// plan tells the plan of the memory, and refuses one that does not fit.
func plan(t *Trainer, eval *Evaluator, before vk.DeviceStats, h Hooks) (MemoryPlan, error) {
	plan, err := t.memory(before)
	if err != nil {
		return plan, err
	}
	if eval != nil {
		if err := eval.memory(&plan); err != nil {
			return plan, err
		}
	}
	info := t.dev.Info()
	if h.Plan != nil {
		h.Plan(plan)
	} else {
		h.Logger.Info("memory plan", "device_bytes", plan.Total(), "host_bytes", plan.Host, "there", info.Memory)
	}
	return plan, plan.fits(info)
}

// foresee tells what the run will do, and refuses one whose checkpoints have no room.
func foresee(t *Trainer, p MemoryPlan, corpus data.Corpus, h Hooks) error {
	o, err := t.outlook(p, corpus, h.Fresh)
	if err != nil {
		return err
	}
	warning, err := o.fits(t.cfg.Dir())
	if err != nil {
		return err
	}
	if warning != "" {
		h.Logger.Warn(warning)
	}
	if h.Outlook != nil {
		return h.Outlook(o)
	}
	return nil
}
