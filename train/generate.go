package train

import (
	"bytes"
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/nn"
)

// Generate continues a text by n tokens and writes the continuation to w as it
// comes, see [nn.Generate]. Only whole characters are written; what is not UTF-8
// becomes U+FFFD. Without a prompt the text starts after tok.Start(). It returns
// how many tokens were generated, on an error too.
func Generate(ctx context.Context, d *nn.Decoder, s *nn.Sampler, tok Tokenizer, prompt string, n int, w io.Writer) (tokens int, err error) {
	ids, err := tok.Encode(nil, prompt)
	if err != nil {
		return 0, err
	}
	if len(ids) == 0 {
		ids = append(ids, tok.Start())
	}
	own := *s
	if own.Vocab == 0 {
		own.Vocab = tok.Vocab()
	}
	text := characters{w: w}
	err = nn.Generate(ctx, d, &own, ids, n, func(id int32) error {
		tokens++
		var err error
		if text.waiting, err = tok.Decode(text.waiting, id); err != nil {
			return err
		}
		return text.write(false)
	})
	return tokens, errors.Join(err, text.write(true))
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
