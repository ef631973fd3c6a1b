package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// errOtherData is what a run is refused for that would go on with other tokens, or
// another tokenizer, than it began with.
var errOtherData = fault.Mismatchedf("the data are not those that the run began with")

// Identity is what a checkpoint remembers, as JSON, of the data of its run: enough to
// tell them from others, wherever they lie.
type Identity struct {
	Name      string        `json:"name"`
	Files     []Sum         `json:"files"`               // the training tokens and, where it is another file, the held-out ones
	Tokenizer *tokenizer.ID `json:"tokenizer,omitempty"` // absent where it isn't known
}

// Same reports in which way the data differ from those of a checkpoint. Where one of
// them is nil nothing is known.
func (d *Identity) Same(was *Identity) error {
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
	return fmt.Errorf("%w: %s; give it those, or set new_data to go on with these", errOtherData, strings.Join(diff, "; "))
}

func (d *Identity) tokens() string {
	var files []string
	for _, f := range d.Files {
		files = append(files, fmt.Sprintf("%d tokens with the checksum %s", f.Tokens, f.CRC32C))
	}
	return d.Name + " of " + strings.Join(files, " and ")
}

// Identity tells the data from others; nil before [Corpus.Check], which [Open] calls.
func (c Corpus) Identity() *Identity { return c.identity }

// Name returns what the data are called in messages; "" of a corpus made by hand.
func (c Corpus) Name() string { return c.name }

// Check reads every token once: it must be below the vocabulary, and the files
// those that their sidecars describe. Both parts must have a window of this context.
// It sets the identity. The listener may be nil.
func (c *Corpus) Check(ctx context.Context, vocab, window int, l *Listener) error {
	if c.Train == nil {
		return errors.New("data: there are no tokens to train on")
	}
	if c.files == nil { // made by hand
		c.files = []*Tokens{c.Train}
		if c.Val != nil {
			c.files = append(c.files, c.Val)
		}
	}
	var total int64
	for _, tokens := range c.files {
		total += tokens.Len()
	}
	m := l.orSilent().start("checking tokens", total, "tokens")
	id := &Identity{Name: cmp.Or(c.name, c.Train.Name())}
	for _, tokens := range c.files {
		sum, err := tokens.check(ctx, vocab, m)
		if tok := c.Tokenizer; err != nil && tok != nil && tok.Vocab() > vocab {
			return fmt.Errorf("%w; the tokenizer, %s, has %d ids", err, tok.Name(), tok.Vocab())
		}
		if err != nil {
			return err
		}
		if about := tokens.about; about != nil && about.Sum != sum {
			return stale(tokens.name, "it says %d tokens with the checksum %s, the file has %d with %s", about.Tokens, about.CRC32C, sum.Tokens, sum.CRC32C)
		}
		id.Files = append(id.Files, sum)
	}
	m.End()
	if about := c.files[0].about; c.Val != nil && about != nil && about.HeldOut != nil && *about.HeldOut != id.Files[len(id.Files)-1] {
		return fault.Mismatchedf("data: %s does not belong to %s: tokenize the text again", c.Val.Name(), c.files[0].Name())
	}
	if c.Tokenizer != nil {
		id.Tokenizer = new(c.Tokenizer.ID())
	}
	c.identity = id
	c.Train = c.Train.below(vocab)
	if err := c.Train.Fits(window); err != nil || c.Val == nil {
		return err
	}
	c.Val = c.Val.below(vocab)
	if err := c.Val.Fits(window); err != nil {
		if len(c.files) == 1 {
			err = fmt.Errorf("%w; it is val_fraction (%v) of %d tokens", err, c.valFraction, c.files[0].Len())
		}
		return err
	}
	return nil
}
