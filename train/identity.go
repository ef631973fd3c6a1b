package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// ErrOtherData is wrapped by the error of a run that would go on with other tokens,
// or another tokenizer, than it began with.
var ErrOtherData = errors.New("the data are not those that the run began with")

// dataIdentity is what a checkpoint remembers of the data of its run: enough to
// tell them from others, wherever they lie.
type dataIdentity struct {
	Name      string        `json:"name"`
	Files     []tokenSum    `json:"files"`               // the training tokens and, where it is another file, the held-out ones
	Tokenizer *tokenizer.ID `json:"tokenizer,omitempty"` // absent where it isn't known
}

// identityKey is the key of a checkpoint's metadata.
const identityKey = "data"

// readIdentity returns nil for a checkpoint that has none.
func readIdentity(meta map[string]string) (*dataIdentity, error) {
	if meta[identityKey] == "" {
		return nil, nil
	}
	var d dataIdentity
	if err := input.Unmarshal([]byte(meta[identityKey]), &d); err != nil {
		return nil, fmt.Errorf("metadata: data: %w", err)
	}
	return &d, nil
}

// same reports in which way the data differ from those of a checkpoint.
func (d *dataIdentity) same(was *dataIdentity) error {
	if d == nil || was == nil {
		return nil
	}
	var diff []string
	if !slices.Equal(d.Files, was.Files) {
		diff = append(diff, fmt.Sprintf("%s, not %s", d.tokens(), was.tokens()))
	}
	if d.Tokenizer != nil && was.Tokenizer != nil && d.Tokenizer.SHA256 != was.Tokenizer.SHA256 {
		diff = append(diff, fmt.Sprintf("tokenizer %s %.8s, not %s %.8s", d.Tokenizer.Kind, d.Tokenizer.SHA256, was.Tokenizer.Kind, was.Tokenizer.SHA256))
	}
	if len(diff) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; give it those, or set new_data to go on with these", ErrOtherData, strings.Join(diff, "; "))
}

func (d *dataIdentity) tokens() string {
	var files []string
	for _, f := range d.Files {
		files = append(files, fmt.Sprintf("%d tokens with the checksum %s", f.Tokens, f.CRC32C))
	}
	return d.Name + " of " + strings.Join(files, " and ")
}

// check reads every token once: it must be below the vocabulary, and the files
// those that their sidecars describe. It sets the identity.
func (d *Data) check(ctx context.Context, cfg Config, log *slog.Logger) error {
	if d.Train == nil || d.Val == nil {
		return errors.New("train: data has no tokens to train on, or none to evaluate on")
	}
	if d.files == nil { // made by hand
		d.files = []*Tokens{d.Train, d.Val}
	}
	id := &dataIdentity{Name: cmp.Or(d.name, d.Train.Name())}
	for _, tokens := range d.files {
		sum, err := tokens.check(ctx, cfg.Vocab, &progress{log: log, what: "checking tokens", total: tokens.Len()})
		if tok := d.Tokenizer; err != nil && tok != nil && tok.Vocab() > cfg.Vocab {
			return fmt.Errorf("%w; the tokenizer, %s, has %d ids", err, tok.Name(), tok.Vocab())
		}
		if err != nil {
			return err
		}
		if about := tokens.about; about != nil && about.tokenSum != sum {
			return stale(tokens.name, "it says %d tokens with the checksum %s, the file has %d with %s", about.Tokens, about.CRC32C, sum.Tokens, sum.CRC32C)
		}
		id.Files = append(id.Files, sum)
	}
	if about := d.files[0].about; about != nil && about.HeldOut != nil && *about.HeldOut != id.Files[len(id.Files)-1] {
		return fmt.Errorf("train: %s does not belong to %s: tokenize the text again", d.Val.Name(), d.files[0].Name())
	}
	if d.Tokenizer != nil {
		id.Tokenizer = new(d.Tokenizer.ID())
	}
	d.identity = id
	if err := d.Train.Fits(cfg.ContextLen); err != nil {
		return err
	}
	if err := d.Val.Fits(cfg.ContextLen); err != nil {
		if len(d.files) == 1 {
			err = fmt.Errorf("%w; it is val_fraction (%v) of %d tokens", err, cfg.ValFraction, d.files[0].Len())
		}
		return err
	}
	return nil
}
