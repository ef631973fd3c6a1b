package nn

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Bigram is the smallest language model: the next token depends on the present
// one alone. Its only parameter is the table of logits E (V, V):
//
//	logits[n] = E[x[n]]
//
// Trained to the end it knows log P(next | present) of its text.
type Bigram struct {
	vocab  int
	params *ops.Params
	table  *ops.Tensor // (V, V)
}

// NewBigram allocates the model on dev, parameters stored as dt. The table is
// zero: every next token is equally likely, and the first loss is log V.
func NewBigram(dev *vk.Device, dt ops.DType, vocab int) (*Bigram, error) {
	b := &Bigram{vocab: vocab, params: ops.NewParams(dev, dt)}
	b.table = b.params.Add("bigram.table", vocab, vocab)
	if err := b.params.Alloc(); err != nil {
		return nil, fmt.Errorf("nn: bigram of %d tokens: %w", vocab, err)
	}
	return b, nil
}

// Params returns the parameters; Release of the set frees the model.
func (b *Bigram) Params() *ops.Params { return b.params }

// Loss appends the mean cross-entropy of targets y given inputs x, both integer
// (B, T), in nats per token. A target of -100 is left out.
func (b *Bigram) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	ignore := -100
	return g.CrossEntropy(g.Embed(b.table, x), y, &ops.CrossEntropyOptions{IgnoreIndex: &ignore})
}

// Logits returns the table as (V, V) f32 values, row by present token. It waits
// for the device.
func (b *Bigram) Logits(ctx context.Context) ([]float32, error) {
	out := make([]float32, b.vocab*b.vocab)
	if err := ops.Download(ctx, b.table, out); err != nil {
		return nil, fmt.Errorf("nn: bigram: %w", err)
	}
	return out, nil
}
