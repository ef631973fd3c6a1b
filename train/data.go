package train

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// OpenData opens what cfg.Data names as [data.Open] does, which says what that may be,
// and which tokenizer counts: [Config.ConfigureFrom] sets cfg.Tokenizer to the model's.
// Where its file is gone, a run that is resumed takes the copy in its folder. The listener
// may be nil.
func OpenData(ctx context.Context, cfg Config, l *data.Listener) (data.Corpus, error) {
	o := data.Options{Path: cfg.Data, Vocab: cfg.Vocab, Context: cfg.ContextLen, ValFraction: cfg.ValFraction,
		TokenWidth: cfg.TokenWidth, Tokenizer: cfg.Tokenizer, From: cfg.From}
	if begun, _, err := Latest(cfg.Dir()); err == nil && begun != "" {
		o.TokenizerCopy = tokenizerIn(cfg.Dir())
	}
	return data.Open(ctx, o, l)
}

// identityKey is the key of a checkpoint's metadata.
const identityKey = "data"

// readIdentity returns nil for a checkpoint that has none.
func readIdentity(meta map[string]string) (*data.Identity, error) {
	if meta[identityKey] == "" {
		return nil, nil
	}
	var d data.Identity
	if err := input.Unmarshal([]byte(meta[identityKey]), &d); err != nil {
		return nil, fault.Damaged(fmt.Errorf("metadata: data: %w", err))
	}
	return &d, nil
}
