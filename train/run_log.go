package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/figure"
)

// log measures and writes a record of the present step. When ctx ends it leaves
// the evaluation out.
func (r *runner) log(ctx context.Context, evaluate bool) error {
	rec := Record{Step: r.trainer.Iteration()}
	whole := context.WithoutCancel(ctx)
	if rec.Step > r.first {
		loss, norm, lr, err := r.trainer.Report(whole)
		if err != nil {
			return err
		}
		rec.Loss, rec.GradNorm, rec.LR = &loss, &norm, &lr
		if rec.Skipped, err = r.trainer.Skipped(whole); err != nil {
			return err
		}
		if s := time.Since(r.since).Seconds(); rec.Step > r.logged && s > 0 {
			rate := float64((rec.Step-r.logged)*r.trainer.cfg.StepTokens()) / s
			rec.TokensPerS = &rate
		}
	}
	rec.ElapsedS = new(time.Since(r.began).Seconds())
	if evaluate && r.eval != nil {
		m := r.hooks.start("evaluating", r.eval.Windows(), "windows")
		val, err := r.eval.measure(ctx, m)
		switch {
		case err == nil:
			m.End()
			rec.ValLoss = &val
		case ctx.Err() == nil:
			return err
		}
	}
	r.warn("nothing is written", r.keepFolder())
	r.warn("metrics not written", r.metrics.Append(rec))
	r.warn("events not written", r.events.record(rec))
	if r.hooks.Progress != nil {
		r.hooks.Progress(rec)
	} else {
		r.hooks.Logger.Info("step", attrs(rec)...)
	}
	if r.hooks.Plot != nil {
		r.hooks.Plot(r.figure())
	}
	if rec.ValLoss != nil || evaluate && r.eval == nil {
		r.warn("loss curve not written", r.plot())
		if err := r.logHistograms(whole); err != nil {
			return err
		}
		if r.hooks.Sample != nil {
			r.warn("events not written", r.events.sample(rec.Step, r.hooks.Sample(rec.Step)))
		}
	}
	r.since, r.logged = time.Now(), rec.Step
	return r.checkFinite(whole, rec)
}

// checkFinite ends a run that nothing can come of any more.
func (r *runner) checkFinite(ctx context.Context, rec Record) error {
	if rec.Loss != nil {
		if err := r.trainer.CheckFinite(ctx); err != nil {
			return err
		}
	}
	if rec.ValLoss != nil && !isFinite(*rec.ValLoss) {
		return r.trainer.nonFinite(ctx, "held-out loss", *rec.ValLoss)
	}
	return nil
}

// keepFolder makes the folder of the run anew where it is gone, locked and whole but
// for older checkpoints, so that what is trained can be saved. While another folder is
// in its place nothing is written.
func (r *runner) keepFolder() error {
	gone := r.lock.held()
	if !errors.Is(gone, fs.ErrNotExist) {
		return gone
	}
	r.warn("checkpoint not saved", r.saved()) // it asks for the lock
	if err := r.lock.renew(); err != nil {
		return errors.Join(gone, err)
	}
	r.hooks.Logger.Warn("the run's folder is gone: it is made anew", "error", gone)
	return errors.Join(r.describe(), r.metrics.Close(), r.metrics.rewrite(), r.events.renew(r.trainer.Iteration(), r.trainer.cfg, r.metrics.Records()))
}

// rescue saves what this call trained where an error ends the run that is none of
// the state, and says so in the error.
func (r *runner) rescue(err error) error {
	var bad *NonFiniteError
	var anomaly *ops.AnomalyError
	n := r.trainer.Iteration()
	if err == nil || n == r.first || errors.Is(err, ErrInterrupted) || errors.As(err, &bad) || errors.As(err, &anomaly) {
		return err
	}
	if failed := errors.Join(r.save(), r.saved()); failed != nil {
		if failed.Error() != err.Error() {
			r.warn("checkpoint not saved", failed)
		}
		return err
	}
	return fmt.Errorf("%w\nthe state after step %d is saved: started again, the run goes on from there", err, n)
}

// advise adds to the error of a state that is not finite what to do about it.
func (r *runner) advise(err error) error {
	var bad *NonFiniteError
	if !errors.As(err, &bad) {
		return err
	}
	advice := "no checkpoint was saved before it"
	saved := r.saved()
	if _, step, latestErr := Latest(r.trainer.cfg.Dir()); saved == nil && latestErr == nil && step > 0 {
		advice = fmt.Sprintf("the checkpoint of step %d is finite", step)
	}
	return errors.Join(fmt.Errorf("%w\n%s: go on with a smaller lr_max, or with -detect-anomaly, which names the operation", err, advice), saved)
}

// warn logs an error that the run can go on after.
func (r *runner) warn(what string, err error) {
	if err != nil {
		r.hooks.Logger.Warn(what, "step", r.trainer.Iteration(), "error", err)
	}
}

// figure returns the curves of the run.
func (r *runner) figure() figure.Figure {
	return lossFigure(r.trainer.cfg.RunName, r.metrics.Records(), r.unigram)
}

// plot draws the curves to loss.svg and loss.png.
func (r *runner) plot() error {
	f := r.figure()
	img, err := f.Image()
	if err != nil {
		return fmt.Errorf("train: plot: %w", err)
	}
	return writePlots(r.hooks.files, r.path, f, img)
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
	if r.Skipped > 0 {
		out = append(out, "skipped", r.Skipped)
	}
	return out
}
