package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/tensorboard"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
	"github.com/lemnos-ml/lemnos/vk"
)

// Run trains model from the newest checkpoint of cfg.RunName in cfg.CkptDir, or
// from the start when there is none, until cfg.TotalSteps. It logs, evaluates
// and saves as often as cfg says, and keeps metrics.jsonl, loss.png and loss.svg beside
// the checkpoints; it holds a lock on the folder, so that another process is
// refused with [ErrRunning], and makes the folder anew where it is taken away. When
// ctx ends it saves and returns an error that wraps [ErrInterrupted].
//
// A run that was interrupted, crashed or killed and is started again ends with the same
// bits as one that was not: batches, dropout, learning rates and evaluations are pure
// functions of the step. A checkpoint of a configuration that differs in what defines
// the model is refused; other fields may change, see [Config]. So is one of other data,
// or of another tokenizer, unless cfg.NewData says that they are meant.
//
// Run adds up what it will hold on the device, see [MemoryPlan], before it allocates
// any of it, tells it, and ends with an error that names both numbers when the device
// has less.
//
// Files that can't be written do not end a run: it goes on, logs the error, and
// tries again at the next log or checkpoint. Only the last checkpoint must be
// saved. Where something else ends the run, as data that can't be read any more,
// the state is saved first, unless it is what is wrong.
func Run(ctx context.Context, dev *vk.Device, cfg Config, model Model, corpus data.Corpus, h Hooks) (err error) {
	if err := errors.Join(checkDevice(dev), checkModel(model)); err != nil {
		return fmt.Errorf("train: run: %w", err)
	}
	h = h.withDefaults()
	if done, err := finished(cfg, model, h); done || err != nil {
		return err
	}
	if err := accept(ctx, &cfg, &corpus, h); err != nil {
		return err
	}
	before := dev.Stats()
	t, err := newTrainer(dev, cfg, model, corpus.Train, h.Reduce)
	if err != nil {
		return err
	}
	defer t.Close()
	cfg, t.data = t.cfg, corpus.Identity()
	t.DetectAnomaly(h.DetectAnomaly)
	var eval *Evaluator // nil for a run that does not evaluate
	if cfg.ValFraction > 0 {
		if eval, err = newEvaluator(dev, cfg, model, corpus.Val); err != nil {
			return err
		}
		defer eval.Close()
	}
	memory, err := plan(t, eval, before, h)
	if err != nil {
		return err
	}
	if err := foresee(t, memory, corpus, h); err != nil {
		return err
	}
	lock, err := lockFolder(cfg.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	h.files = lockedFiles{h.files, lock}
	if err := t.ready(ctx, h); err != nil {
		return err
	}
	unigram, err := eval.ready(ctx, corpus.Train, cfg.Vocab, h)
	if err != nil {
		return err
	}
	r := &runner{hooks: h, lock: lock, trainer: t, eval: eval, tokenizer: corpus.Tokenizer, unigram: unigram}
	defer func() { err = errors.Join(err, r.finish()) }()
	if err := r.resume(ctx); err != nil {
		return err
	}
	start := []any{"from", t.Iteration(), "unigram_entropy", fmt.Sprintf("%.4f", unigram), "kernels", dev.Stats().Kernels}
	if h.Outlook == nil { // else it is told
		start = append([]any{"device", dev.Info().Name, "steps", cfg.TotalSteps}, start...)
	}
	h.Logger.Info("training", start...)
	return r.advise(r.rescue(r.loop(ctx)))
}

// runner is one call of Run.
type runner struct {
	hooks     Hooks
	lock      *folderLock
	trainer   *Trainer
	eval      *Evaluator           // nil for none
	tokenizer *tokenizer.Tokenizer // of the data, nil for none
	unigram   float64
	metrics   *metricsFile
	first     int64      // steps done before this call
	saving    chan error // the write of the last checkpoint; nil when none was begun
	written   *meter.Meter
	since     time.Time           // last log
	logged    int64               // step of the last log
	events    *eventLog           // nil: none are written
	gradients []tensorboard.Value // of the step to evaluate after
	began     time.Time           // as if there had been no start before
}

// path returns the path of one of the run's files.
func (r *runner) path(name string) string { return filepath.Join(r.trainer.cfg.Dir(), name) }

// resume restores the newest checkpoint, or starts where the configuration says,
// and only then touches the folder: it removes what is not to stay, and cuts the
// metrics after the checkpoint.
func (r *runner) resume(ctx context.Context) error {
	path, step, err := Latest(r.trainer.cfg.Dir())
	if err != nil {
		return err
	}
	switch {
	case path != "" && !r.hooks.Fresh:
		err = r.restore(ctx, path, step)
	case r.trainer.cfg.From != "":
		r.hooks.Logger.Info("starting", "from", r.trainer.cfg.From)
		err = r.whole("loading model", func() error { return r.trainer.StartFrom(ctx, r.trainer.cfg.From) })
	case r.hooks.Start != nil:
		err = r.whole("initializing", func() error { return r.hooks.Start(ctx) })
	case r.trainer.empty != "":
		err = fmt.Errorf("train: run: parameter %q was reserved and has no value: set Hooks.Start to a function that initializes the model, or do it before Run", r.trainer.empty)
	}
	r.first = r.trainer.Iteration()
	if ctx.Err() != nil {
		return r.interrupted(ctx)
	}
	if err != nil {
		return err
	}
	r.trainer.cfg.NewData = false // asked for once
	if err := removeRun(r.hooks.files, r.trainer.cfg.Dir(), r.hooks.Fresh); err != nil {
		return err
	}
	if err := r.describe(); err != nil {
		return err
	}
	if r.metrics, err = openMetrics(r.hooks.files, r.path(metricsName), r.first); err != nil || !r.trainer.cfg.TensorBoard {
		return err
	}
	r.events = &eventLog{files: r.hooks.files, dir: r.trainer.cfg.Dir()}
	r.warn("events not written", r.events.begin(r.first, r.trainer.cfg, r.metrics.Records()))
	return nil
}

// whole makes a phase of what can't be counted.
func (r *runner) whole(name string, f func() error) error {
	m := r.hooks.start(name, 0, "")
	err := f()
	if err == nil {
		m.End()
	}
	return err
}

// describe writes what says how the run was made.
func (r *runner) describe() error {
	if err := r.trainer.cfg.write(r.hooks.files, r.path(configName)); err != nil {
		return err
	}
	if file := r.hooks.ConfigFile; file != nil {
		if err := output.Replace(r.hooks.files, r.path(givenName(file)), file); err != nil {
			return fmt.Errorf("train: %w", err)
		}
		if err := r.dropGiven(file); err != nil {
			return err
		}
	}
	if r.tokenizer == nil || r.tokenizer.ID().Kind != "bpe" {
		return nil
	}
	return writeTokenizer(r.hooks.files, r.trainer.cfg.Dir(), r.tokenizer) // so that the folder can be moved
}

// dropGiven removes the file in the other form that an earlier start was given, so that the folder has one.
func (r *runner) dropGiven(file []byte) error {
	for _, name := range []string{givenTOML, givenJSON} {
		if _, err := os.Lstat(r.path(name)); err != nil || name == givenName(file) {
			continue
		}
		if err := r.hooks.files.Remove(r.path(name)); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	return nil
}

// restore goes on from the checkpoint of a step.
func (r *runner) restore(ctx context.Context, path string, step int64) error {
	log := r.hooks.Logger
	log.Info("resuming", "checkpoint", path)
	m := r.hooks.start("restoring", stateBytes(r.trainer.tensors()), "bytes")
	if err := r.trainer.restore(ctx, path, m); err != nil {
		return err
	}
	m.End()
	if err := r.keepFrom(); err != nil {
		return err
	}
	if n := r.trainer.Iteration(); n != step { // later checkpoints would not be the newest
		return fmt.Errorf("train: checkpoint %s is of step %d: give it the name of that step", path, n)
	}
	for _, change := range []string{r.trainer.cfg.scheduleChange(r.trainer.before, step), r.trainer.cfg.stepChange(r.trainer.before)} {
		if change != "" {
			log.Warn(change)
		}
	}
	return nil
}

// keepFrom keeps the model that a resumed run began with, under the name that it has
// now, unless another was asked for.
func (r *runner) keepFrom() (err error) {
	t := r.trainer
	switch {
	case t.cfg.From == "":
		t.cfg.From = t.before.From
	case t.cfg.NewData:
		t.from, err = identifyModel(t.cfg.From)
	case t.from != nil:
		t.from.Path = t.cfg.From
	}
	return err
}

func (r *runner) loop(ctx context.Context) error {
	t, total := r.trainer, r.trainer.cfg.TotalSteps
	r.since, r.logged = time.Now(), r.first
	r.began = r.since.Add(-seconds(elapsed(r.metrics.Records())))
	if r.unmeasured() {
		if err := r.log(ctx, true); err != nil {
			return err
		}
	}
	for t.Iteration() < total && ctx.Err() == nil {
		n, last := t.Iteration()+1, t.Iteration()+1 == total
		evaluate := last || n%r.trainer.cfg.EvalEvery == 0
		if err := r.inspectNext(context.WithoutCancel(ctx), evaluate); err != nil {
			return err
		}
		if err := r.step(ctx); err != nil {
			return err
		}
		if evaluate || n%r.trainer.cfg.LogEvery == 0 {
			if err := r.log(ctx, evaluate); err != nil {
				return err
			}
		}
		if last || n%r.trainer.cfg.CkptEvery == 0 {
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return r.interrupted(ctx)
	}
	return nil
}

// step submits a step. The first is waited for: a driver may compile the kernels only now.
func (r *runner) step(ctx context.Context) error {
	t := r.trainer
	if t.Iteration() > r.first {
		if len(r.saving) > 0 { // it has ended
			r.warn("checkpoint not saved", r.saved())
		}
		if err := t.Step(); err != nil {
			return err
		}
	} else {
		err := r.whole("first step", func() error {
			if err := t.Step(); err != nil {
				return err
			}
			return t.Wait(context.WithoutCancel(ctx))
		})
		if err != nil {
			return err
		}
		if r.hooks.Begun != nil {
			r.hooks.Begun()
		}
	}
	if r.hooks.Step != nil {
		r.hooks.Step(t.Iteration())
	}
	return nil
}

// unmeasured reports whether the evaluation of the present step is missing: at
// the start, and where the earlier call was stopped in it.
func (r *runner) unmeasured() bool {
	n := r.first
	if r.eval == nil || n > 0 && n != r.trainer.cfg.TotalSteps && n%r.trainer.cfg.EvalEvery != 0 {
		return false
	}
	return !slices.ContainsFunc(r.metrics.Records(), func(m Record) bool { return m.Step == n && m.ValLoss != nil })
}

// interrupted saves what this call trained.
func (r *runner) interrupted(ctx context.Context) error {
	n := r.trainer.Iteration()
	if n > r.first {
		if err := errors.Join(r.save(), r.saved()); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w after step %d, nothing is lost: %w", ErrInterrupted, n, context.Cause(ctx))
}

// save copies the state off the device and writes it while training goes on. The
// metrics up to it are made durable first.
func (r *runner) save() error {
	r.warn("checkpoint not saved", r.saved()) // one write at a time, oldest first
	written := r.hooks.start("saving", stateBytes(r.trainer.tensors()), "bytes")
	s, err := r.trainer.Snapshot(context.Background())
	if err != nil {
		return err
	}
	r.warn("nothing is written", r.keepFolder())
	r.warn("metrics not written", r.metrics.sync())
	r.warn("events not written", r.events.sync())
	r.saving, r.written = make(chan error, 1), written
	go func() {
		path, err := saveCheckpoint(r.hooks.files, r.trainer.cfg.Dir(), s.Iteration, s.meta, s.entries, r.trainer.cfg.Keep)
		if path != "" && err != nil { // saved, but an old one is still there
			r.hooks.Logger.Warn("old checkpoint not removed", "error", err)
			err = nil
		}
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
	if err == nil {
		r.written.End()
	}
	return err
}

func (r *runner) finish() error {
	err := r.saved()
	if r.metrics != nil {
		r.warn("metrics not written", r.metrics.Close())
	}
	r.warn("events not written", r.events.finish())
	return err
}
