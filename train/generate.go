package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// Generate continues a text by at most n tokens and writes the continuation to w as
// it comes, see [nn.Generate]. It ends before a token that ends texts. Only whole
// characters are written; what is not UTF-8 becomes U+FFFD. The prompt stands after
// what begins a document, see [tokenizer.Special]; without a prompt the text starts
// after tok.Special().Start. Where tok is nil, prompt and text are ids with spaces
// between them, and without a prompt the text starts after id 0. It returns how many
// tokens were generated, on an error too.
func Generate(ctx context.Context, d nn.Sequence, s *nn.Sampler, tok *tokenizer.Tokenizer, prompt string, n int, w io.Writer) (tokens int, err error) {
	if d == nil || s == nil || w == nil {
		return 0, errors.New("train: generate: the sequence, the sampler or the writer is nil")
	}
	if tok == nil {
		return generateIDs(ctx, d, s, prompt, n, w)
	}
	special := tok.Special()
	ids, err := tok.Encode(slices.Clone(special.Before), prompt)
	if err != nil {
		return 0, err
	}
	if len(ids) == 0 {
		ids = append(ids, special.Start)
	}
	if s.Vocab == 0 { // not the ids that the tokenizer doesn't have
		s.Vocab = min(tok.Vocab(), d.Vocab())
		defer func() { s.Vocab = 0 }()
	}
	text := characters{w: w}
	err = nn.Generate(ctx, d, s, ids, n, func(id int32) error {
		if slices.Contains(special.End, id) {
			return errEnd
		}
		tokens++
		var err error
		if text.waiting, err = tok.Decode(text.waiting, id); err != nil {
			return err
		}
		return text.write(false)
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	return tokens, errors.Join(err, text.write(true))
}

// errEnd stops generating.
var errEnd = errors.New("the text is complete")

// generateIDs is Generate where it is not known what the ids mean.
func generateIDs(ctx context.Context, d nn.Sequence, s *nn.Sampler, prompt string, n int, w io.Writer) (tokens int, err error) {
	ids := []int32{}
	for _, word := range strings.Fields(prompt) {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("train: without a tokenizer the prompt must be ids, %q is none", word)
		}
		ids = append(ids, int32(id))
	}
	if len(ids) == 0 {
		ids = append(ids, 0)
	}
	err = nn.Generate(ctx, d, s, ids, n, func(id int32) error {
		tokens++
		_, err := fmt.Fprintf(w, " %d", id)
		return err
	})
	return tokens, err
}

// characters writes text that comes byte by byte in whole characters.
type characters struct {
	w       io.Writer
	waiting []byte // not written yet: at the end possibly the start of a character
}

// write writes what is whole, or all.
func (c *characters) write(all bool) error {
	end := len(c.waiting)
	if !all {
		end = wholeCharacters(c.waiting)
	}
	if end == 0 {
		return nil
	}
	_, err := c.w.Write(bytes.ToValidUTF8(c.waiting[:end], []byte("\uFFFD")))
	c.waiting = append(c.waiting[:0], c.waiting[end:]...)
	return err
}

// wholeCharacters returns the length of text without the start of a character at
// its end.
func wholeCharacters(text []byte) int {
	for at := len(text) - 1; at >= 0 && at > len(text)-utf8.UTFMax; at-- {
		if utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				return at
			}
			break
		}
	}
	return len(text)
}
