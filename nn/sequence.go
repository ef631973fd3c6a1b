package nn

import (
	"context"
	"errors"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
)

// Sequence is text that a model continues: what [Generate] needs. [Decoder] is a
// transformer's, [Window] that of any model with [Logits].
type Sequence interface {
	// Next appends tokens and returns the logits (V) of the token after the last one;
	// the slice is valid until the next call. More than Cap tokens are an error.
	Next(ctx context.Context, tokens []int32) ([]float32, error)
	// Cap returns how many tokens the sequence may have.
	Cap() int
	// Vocab returns how many logits Next returns.
	Vocab() int
	// Reset empties the sequence.
	Reset()
	// Close frees what the sequence holds on the device; the model stays.
	Close() error
}

// Logits is what a model needs to generate text. [Transformer] has it; a custom
// model adds one method.
type Logits interface {
	// Params returns the allocated parameters, always the same set.
	Params() *ops.Params
	// Logits appends the scores of every next token, (B, T, V), given inputs x, ids
	// (B, T). Those of a position do not depend on later ones.
	Logits(g *ops.Graph, x *ops.Tensor) *ops.Tensor
}

// NewSequence returns a sequence of up to length tokens: a [Decoder] of a
// [Transformer], a [Window] of other models.
func NewSequence(m Logits, length int) (Sequence, error) {
	if t, ok := m.(*Transformer); ok {
		return t.NewDecoder(length)
	}
	return NewWindow(m, length)
}

// Window is a [Sequence] that keeps nothing between tokens: each call of Next is one
// pass over all positions that there may be.
type Window struct {
	step   *ops.Step
	tokens *ops.Tensor // i32 (1, T)
	last   *ops.Tensor // i32 (1): whose logits are wanted
	row    *ops.Tensor // f32 (1, V)
	ids    []int32     // (T); of which used are the sequence
	used   int
	logits []float32 // (V)
}

// NewWindow records the pass over length positions. Close frees it.
func NewWindow(m Logits, length int) (*Window, error) {
	if m == nil || m.Params() == nil || length < 1 {
		return nil, fmt.Errorf("nn: window of %d positions, want a model with parameters and at least 1", length)
	}
	g := ops.NewGraph(m.Params().Device())
	w := &Window{tokens: g.Input("tokens", ops.I32, 1, length), last: g.Input("last", ops.I32, 1), ids: make([]int32, length)}
	all := m.Logits(g, w.tokens) // (1, T, V)
	shape := all.Shape()
	if len(shape) != 3 || shape[0] != 1 || shape[1] != length {
		g.Fail("window", fmt.Errorf("logits are %v, want (1, %d, V)", all, length))
		shape = []int{1, length, 1}
	}
	w.logits = make([]float32, shape[2])
	w.row = g.Cast(g.Embed(g.View(all, length, shape[2]), w.last), ops.F32)
	g.Output(w.row)
	var err error
	if w.step, err = g.Compile(); err != nil {
		g.Release()
		return nil, fmt.Errorf("nn: window: %w", err)
	}
	return w, nil
}

// Cap returns how many tokens the sequence may have.
func (w *Window) Cap() int { return len(w.ids) }

// Vocab returns how many logits Next returns.
func (w *Window) Vocab() int { return len(w.logits) }

// Reset empties the sequence.
func (w *Window) Reset() { w.used = 0 }

// Next implements [Sequence].
func (w *Window) Next(ctx context.Context, tokens []int32) ([]float32, error) {
	switch {
	case w.step == nil:
		return nil, errors.New("nn: window: it is closed")
	case len(tokens) == 0:
		return nil, errors.New("nn: window: no token")
	case w.used+len(tokens) > len(w.ids):
		return nil, fmt.Errorf("nn: window: %d positions and %d more, it has %d", w.used, len(tokens), len(w.ids))
	}
	if err := checkTokens(tokens, len(w.logits)); err != nil {
		return nil, fmt.Errorf("nn: window: %w", err)
	}
	w.used += copy(w.ids[w.used:], tokens)
	if err := w.run(ctx); err != nil {
		return nil, fmt.Errorf("nn: window: %w", err)
	}
	return w.logits, nil
}

func (w *Window) run(ctx context.Context) error {
	err := errors.Join(ops.Upload(ctx, w.tokens, w.ids), ops.Upload(ctx, w.last, []int32{int32(w.used - 1)}))
	if err == nil {
		err = w.step.Run()
	}
	if err == nil {
		err = w.step.Wait(ctx)
	}
	if err != nil {
		return err
	}
	return ops.Download(ctx, w.row, w.logits)
}

// Close waits for the device and frees the recorded pass.
func (w *Window) Close() error {
	if w.step == nil {
		return nil
	}
	err := w.step.Close()
	w.step = nil
	return err
}

// checkTokens reports an id that is none of a vocabulary.
func checkTokens(tokens []int32, vocab int) error {
	for _, id := range tokens {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token %d is outside the vocabulary of %d", id, vocab)
		}
	}
	return nil
}
