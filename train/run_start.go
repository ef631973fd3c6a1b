package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// accept checks the data against the configuration, and writes there what they are.
func accept(ctx context.Context, cfg *Config, corpus *data.Corpus, h Hooks) error {
	if corpus.Identity() == nil {
		if err := corpus.Check(ctx, cfg.Vocab, cfg.ContextLen, h.Logger); err != nil {
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

// compileKernels compiles those of all graphs, and logs every so often how far it is.
func compileKernels(ctx context.Context, dev *vk.Device, log *slog.Logger, every time.Duration) error {
	log.Info("compiling kernels", "device", dev.Info().Name)
	last := time.Now()
	err := dev.Compile(ctx, func(done, total int) {
		if time.Since(last) >= every {
			last = time.Now()
			log.Info("compiling kernels", "done", done, "of", total)
		}
	})
	if err != nil {
		return beforeSteps(ctx, fmt.Errorf("train: %w", err))
	}
	return nil
}

// plan tells the plan of the memory, and refuses one that does not fit.
func plan(t *Trainer, eval *Evaluator, before vk.DeviceStats, h Hooks) error {
	plan, err := t.memory(before)
	if err != nil {
		return err
	}
	if eval != nil {
		if err := eval.memory(&plan); err != nil {
			return err
		}
	}
	info := t.dev.Info()
	h.Logger.Info("memory plan", "device_bytes", plan.Total(), "host_bytes", plan.Host, "there", info.Memory)
	if h.Plan != nil {
		h.Plan(plan)
	}
	return plan.fits(info)
}
