package train

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/lemnos-ml/lemnos/vk"
)

// ErrInterrupted is what Run returns when its context ended: the state was
// saved and the same call goes on from there.
var ErrInterrupted = errors.New("train: interrupted, state saved")

// Data is what a run reads: tokens to train on and held-out tokens to measure on.
type Data struct {
	Train, Val *Tokens
	close      func() error
}

// Hooks are called by Run at each log and evaluation; nil ones are not.
type Hooks struct {
	// Progress receives every record written to the metrics file.
	Progress func(Record)
	// Plan receives the memory that the run will hold, before it does.
	Plan func(MemoryPlan)
	// Sample is called after each evaluation, between two steps; what it runs on
	// the device must leave the parameters as they are.
	Sample func(step int64)
	// Plot receives the loss curve at each evaluation.
	Plot func(image.Image)
	// Logger receives the same as messages; nil is slog.Default.
	Logger *slog.Logger
}

// Run trains model from the newest checkpoint of cfg.RunName in cfg.CkptDir, or
// from the start when there is none, until cfg.TotalSteps. It logs, evaluates
// and saves as often as cfg says, and keeps metrics.jsonl and loss.png beside
// the checkpoints. When ctx ends it saves and returns an error that wraps
// ErrInterrupted. A run that was stopped, in whatever way, and started again
// ends with the same bits as one that was not.
func Run(ctx context.Context, dev *vk.Device, cfg Config, model Model, data Data, h Hooks) (err error) {
	if h.Logger == nil {
		h.Logger = slog.Default()
	}
	for _, warning := range cfg.Warnings() {
		h.Logger.Warn(warning)
	}
	before := dev.Stats()
	t, err := newTrainer(dev, cfg, model, data.Train)
	if err != nil {
		return err
	}
	defer t.Close()
	eval, err := newEvaluator(dev, cfg, model, data.Val)
	if err != nil {
		return err
	}
	defer eval.Close()
	if err := allocate(t, eval, before, h); err != nil {
		return err
	}
	unigram, err := eval.UnigramEntropy(data.Train, cfg.Vocab)
	if err != nil {
		return err
	}
	r := &runner{cfg: cfg, hooks: h, trainer: t, eval: eval, unigram: unigram}
	defer func() { err = errors.Join(err, r.finish()) }()
	// Nothing on the device is given up half way: ctx is looked at between steps.
	if err := r.resume(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	h.Logger.Info("training", "device", dev.Info().Name, "steps", cfg.TotalSteps, "from", t.Iteration(),
		"unigram_entropy", fmt.Sprintf("%.4f", unigram))
	return r.loop(ctx)
}

// allocate tells the plan of the memory, refuses one that does not fit, and
// allocates.
func allocate(t *Trainer, eval *Evaluator, before vk.DeviceStats, h Hooks) error {
	plan, err := t.memory(before)
	if err != nil {
		return err
	}
	if err := eval.memory(&plan); err != nil {
		return err
	}
	info := t.dev.Info()
	h.Logger.Info("memory plan", "device_bytes", plan.Total(), "host_bytes", plan.Host, "there", info.Memory)
	if h.Plan != nil {
		h.Plan(plan)
	}
	if err := plan.fits(info); err != nil {
		return err
	}
	if err := t.compile(); err != nil {
		return err
	}
	return eval.compile()
}

// runner is one call of Run.
type runner struct {
	cfg     Config
	hooks   Hooks
	trainer *Trainer
	eval    *Evaluator
	unigram float64
	metrics *Metrics
	saving  chan error // the write of the last checkpoint; nil when none was begun
	since   time.Time  // last log
	logged  int64      // step of the last log
}

// resume restores the newest checkpoint, and cuts the metrics after it; a run
// without one starts where its configuration says.
func (r *runner) resume(ctx context.Context) error {
	path, _, err := Latest(r.cfg.Dir(), checkpointName)
	if err != nil {
		return err
	}
	switch {
	case path != "":
		if err := r.trainer.Restore(ctx, path); err != nil {
			return err
		}
		r.hooks.Logger.Info("resuming", "checkpoint", path, "step", r.trainer.Iteration())
	case r.cfg.From != "":
		if err := r.trainer.StartFrom(ctx, r.cfg.From); err != nil {
			return err
		}
		r.hooks.Logger.Info("starting", "from", r.cfg.From)
	}
	r.metrics, err = OpenMetrics(filepath.Join(r.cfg.Dir(), "metrics.jsonl"), r.trainer.Iteration())
	if err != nil {
		return err
	}
	return r.cfg.Write(filepath.Join(r.cfg.Dir(), "config.json"))
}

func (r *runner) loop(ctx context.Context) error {
	t, total := r.trainer, r.cfg.TotalSteps
	whole := context.WithoutCancel(ctx)
	r.since, r.logged = time.Now(), t.Iteration()
	if t.Iteration() == 0 {
		if err := r.log(whole, true); err != nil {
			return err
		}
	}
	for t.Iteration() < total {
		if ctx.Err() != nil {
			return r.interrupted(ctx)
		}
		if err := t.Step(); err != nil {
			return err
		}
		n, last := t.Iteration(), t.Iteration() == total
		evaluate := last || n%r.cfg.EvalEvery == 0
		if evaluate || n%r.cfg.LogEvery == 0 {
			if err := r.log(whole, evaluate); err != nil {
				return err
			}
		}
		if last || n%r.cfg.CkptEvery == 0 {
			if err := r.save(whole); err != nil {
				return err
			}
		}
	}
	return nil
}

// interrupted saves, unless the state is that of the last checkpoint anyway.
func (r *runner) interrupted(ctx context.Context) error {
	if err := r.save(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := r.saved(); err != nil {
		return err
	}
	return fmt.Errorf("%w (step %d): %w", ErrInterrupted, r.trainer.Iteration(), context.Cause(ctx))
}

// log measures and writes a record of the present step.
func (r *runner) log(ctx context.Context, evaluate bool) error {
	rec := Record{Step: r.trainer.Iteration()}
	if rec.Step > 0 {
		loss, norm, lr, err := r.trainer.Report(ctx)
		if err != nil {
			return err
		}
		rec.Loss, rec.GradNorm, rec.LR = &loss, &norm, &lr
		if s := time.Since(r.since).Seconds(); rec.Step > r.logged && s > 0 {
			rate := float64((rec.Step-r.logged)*int64(r.cfg.BatchSize*r.cfg.ContextLen*r.cfg.GradAccum)) / s
			rec.TokensPerS = &rate
		}
	}
	if evaluate {
		val, err := r.eval.Loss(ctx)
		if err != nil {
			return err
		}
		rec.ValLoss = &val
	}
	if err := r.metrics.Append(rec); err != nil {
		return err
	}
	if evaluate {
		if err := r.plot(); err != nil {
			return err
		}
	}
	r.hooks.Logger.Info("step", attrs(rec)...)
	if r.hooks.Progress != nil {
		r.hooks.Progress(rec)
	}
	if evaluate && r.hooks.Sample != nil {
		r.hooks.Sample(rec.Step)
	}
	r.since, r.logged = time.Now(), rec.Step
	return nil
}

// plot draws the loss curve to loss.png, and for the hook.
func (r *runner) plot() error {
	records := r.metrics.Records()
	if err := WriteLossPlot(filepath.Join(r.cfg.Dir(), "loss.png"), r.cfg.RunName, records, r.unigram); err != nil || r.hooks.Plot == nil {
		return err
	}
	img, err := LossPlot(r.cfg.RunName, records, r.unigram)
	if err == nil {
		r.hooks.Plot(img)
	}
	return err
}

// save copies the state off the device and writes it while training goes on.
func (r *runner) save(ctx context.Context) error {
	s, err := r.trainer.Snapshot(ctx)
	if err != nil {
		return err
	}
	if err := r.saved(); err != nil { // one write at a time, oldest first
		return err
	}
	r.saving = make(chan error, 1)
	go func() {
		_, err := s.Save(r.cfg.Dir(), r.cfg.Keep)
		r.saving <- err
	}()
	return nil
}

// saved waits for the write that save began.
func (r *runner) saved() error {
	if r.saving == nil {
		return nil
	}
	err := <-r.saving
	r.saving = nil
	return err
}

func (r *runner) finish() error {
	err := r.saved()
	if r.metrics != nil {
		err = errors.Join(err, r.metrics.Close())
	}
	return err
}

// attrs are the measured fields of a record, for a log line.
func attrs(r Record) []any {
	out := []any{"step", r.Step}
	for _, f := range []struct {
		name string
		v    *float64
	}{{"loss", r.Loss}, {"val_loss", r.ValLoss}, {"grad_norm", r.GradNorm}, {"lr", r.LR}, {"tokens_per_s", r.TokensPerS}} {
		if f.v != nil {
			out = append(out, f.name, fmt.Sprintf("%.4g", *f.v))
		}
	}
	return out
}
