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

// Evaluator measures a model on fixed windows of held-out tokens: the first
// windows, one after the other without overlap, the same at every evaluation.
type Evaluator struct {
	cfg Config
	recording
	x, y    *ops.Tensor // i32 (B, T) inputs
	loss    *ops.Tensor // the mean over a batch, or where there is a count the sum over so many targets
	count   *ops.Tensor
	windows data.Windows
}

// NewEvaluator records the forward pass. It uses at most cfg.EvalWindows windows
// of tokens; there must be one at least.
func NewEvaluator(dev *vk.Device, cfg Config, model Model, tokens *data.Tokens) (*Evaluator, error) {
	if err := checkDevice(dev); err != nil {
		return nil, fmt.Errorf("train: new evaluator: %w", err)
	}
	e, err := newEvaluator(dev, cfg, model, tokens)
	if err != nil {
		return nil, err
	}
	if err := e.compile(); err != nil {
		return nil, fmt.Errorf("train: evaluation: %w", err)
	}
	return e, nil
}

// newEvaluator builds the pass; compile allocates and records it.
func newEvaluator(dev *vk.Device, cfg Config, model Model, tokens *data.Tokens) (*Evaluator, error) {
	if err := checkModel(model); err != nil {
		return nil, fmt.Errorf("train: new evaluator: %w", err)
	}
	if tokens == nil {
		return nil, errors.New("train: new evaluator: no tokens to evaluate on")
	}
	if err := tokens.Fits(cfg.ContextLen); err != nil {
		return nil, err
	}
	g := cfg.newGraph(dev)
	b, m := cfg.BatchSize, cfg.ContextLen
	e := &Evaluator{cfg: cfg, recording: recording{graph: g}, windows: data.Windows{Tokens: tokens, B: b, M: m, Limit: int64(cfg.EvalWindows)},
		x: g.Input("inputs", ops.I32, b, m), y: g.Input("targets", ops.I32, b, m)}
	var err error
	if e.loss, err = lossOf(model, g, e.x, e.y); err != nil {
		g.Release()
		return nil, err
	}
	if count, ok := g.Updater().SumOf(e.loss); ok {
		e.count = count
		g.Output(e.count)
	}
	g.Output(e.loss)
	return e, nil
}

// Close frees the recorded pass.
func (e *Evaluator) Close() error { return e.close() }

// Windows returns how many windows an evaluation covers.
func (e *Evaluator) Windows() int64 { return e.windows.Count() }

// Loss returns the mean loss over the windows, in nats per token: of a model whose loss
// is a cross-entropy over all targets that it does not ignore, be there fewer in one batch
// than in another. It looks at ctx between two batches of windows.
func (e *Evaluator) Loss(ctx context.Context) (float64, error) { return e.measure(ctx, nil) }

// measure is Loss; m counts the windows.
func (e *Evaluator) measure(ctx context.Context, m *meter.Meter) (float64, error) {
	n := e.cfg.BatchSize * e.cfg.ContextLen
	x, y := make([]int32, n), make([]int32, n)
	var sum, total float64
	whole := context.WithoutCancel(ctx) // a batch that runs is waited for
	for first := int64(0); first < e.windows.Count(); {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("train: evaluation: %w", err)
		}
		rows, err := e.windows.Gather(first, x, y)
		if err != nil {
			return 0, err
		}
		if err := ops.Upload(whole, e.x, x); err != nil {
			return 0, err
		}
		if err := ops.Upload(whole, e.y, y); err != nil {
			return 0, err
		}
		if err := e.step.Run(); err != nil {
			return 0, fmt.Errorf("train: evaluation: %w", err)
		}
		if err := e.step.Wait(whole); err != nil {
			return 0, fmt.Errorf("train: evaluation: %w", explainPad(err))
		}
		loss, err := ops.Item(whole, e.loss)
		if err != nil {
			return 0, fmt.Errorf("train: evaluation: %w", err)
		}
		if e.count == nil { // equally many targets in each window, for all that is known
			sum, total = sum+float64(loss)*float64(rows), total+float64(rows)
		} else {
			count, err := ops.Item(whole, e.count)
			if err != nil {
				return 0, fmt.Errorf("train: evaluation: %w", err)
			}
			sum, total = sum+float64(loss), total+float64(count)
		}
		first += int64(rows)
		m.Add(rows)
	}
	if total == 0 {
		return 0, errors.New("train: evaluation: the model ignores every held-out target, the mean of nothing is undefined")
	}
	return sum / total, nil
}

// UnigramEntropy returns the cross-entropy, in nats per token, of the
// evaluation's targets under the token frequencies of the training text (with
// one added to each count): what a model reaches that knows how often each
// token occurs and nothing about what comes next.
func (e *Evaluator) UnigramEntropy(ctx context.Context, training *data.Tokens, vocab int) (float64, error) {
	return e.unigramEntropy(ctx, training, vocab, nil)
}

// unigramEntropy is UnigramEntropy; m counts the training tokens.
func (e *Evaluator) unigramEntropy(ctx context.Context, training *data.Tokens, vocab int, m *meter.Meter) (float64, error) {
	if training == nil || vocab < 1 {
		return 0, fmt.Errorf("train: unigram entropy: no tokens to count, or a vocabulary of %d", vocab)
	}
	counts := make([]float64, vocab)
	for i := range counts {
		counts[i] = 1
	}
	total := float64(vocab) + float64(training.Len())
	err := training.Each(ctx, 0, training.Len(), func(ids []int32) error {
		m.Add(len(ids))
		return eachCount(counts, ids, func(count *float64) { *count++ })
	})
	if err != nil {
		return 0, err
	}
	var sum float64
	n := e.windows.Count() * int64(e.cfg.ContextLen)
	err = e.windows.Tokens.Each(ctx, 1, n, func(ids []int32) error {
		return eachCount(counts, ids, func(count *float64) { sum -= math.Log(*count / total) })
	})
	return sum / float64(n), err
}

// eachCount calls f with the count of each id.
func eachCount(counts []float64, ids []int32, f func(count *float64)) error {
	for _, id := range ids {
		if int(id) >= len(counts) {
			return fmt.Errorf("train: unigram entropy: token %d is outside the vocabulary of %d", id, len(counts))
		}
		f(&counts[id])
	}
	return nil
}
