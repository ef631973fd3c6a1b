package traincmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// sampler prints what the model makes of a prompt while it is being trained.
type sampler struct {
	ctx    context.Context
	text   nn.Sequence
	tok    *tokenizer.Tokenizer // nil where samples are ids
	prompt string
	tokens int
	out    io.Writer
}

// sampleContext bounds the cache: a sample is short.
const sampleContext = 256

// newSampler returns nil where there is nothing to sample from.
func newSampler(ctx context.Context, model train.Model, cfg train.Config, o options, tok *tokenizer.Tokenizer, out io.Writer) (*sampler, error) {
	m, ok := model.(nn.Logits)
	if !ok || o.sample == 0 {
		return nil, nil
	}
	text, err := nn.NewSequence(m, min(cfg.ContextLen, sampleContext))
	if err != nil {
		return nil, err
	}
	return &sampler{ctx, text, tok, o.prompt, o.sample, out}, nil
}

// print writes one sample, always with the same choices, so that what changes
// from one to the next is the model, and returns its text.
func (s *sampler) print(step int64) string {
	var text strings.Builder
	text.WriteString(s.prompt)
	fmt.Fprintf(s.out, "--- sample of step %d\n%s", step, s.prompt)
	_, err := train.Generate(s.ctx, s.text, &nn.Sampler{Temperature: 0.8, Seed: 1}, s.tok, s.prompt, s.tokens, io.MultiWriter(s.out, &text))
	if err != nil && s.ctx.Err() == nil {
		fmt.Fprintf(s.out, "\nno sample: %v", err)
	}
	fmt.Fprint(s.out, "\n---\n")
	return text.String()
}

// close frees the sequence; a nil sampler has none.
func (s *sampler) close() error {
	if s == nil {
		return nil
	}
	return s.text.Close()
}
