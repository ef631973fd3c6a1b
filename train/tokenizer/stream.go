package tokenizer

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pieceBytes is how much text one goroutine encodes at once, less than 100 ms of
// work.
const pieceBytes = 1 << 18

// EncodeReader encodes what r reads as one document, what stands around it
// included, and passes the ids on in their order, with the bytes of text that they
// are; they are valid until emit returns. The text is encoded in pieces, on all
// processors; pieces end where a word does, so the ids are those of the whole text.
// A text without such a place is held in memory. It returns soon after ctx ends.
func (t *Tokenizer) EncodeReader(ctx context.Context, r io.Reader, emit func(ids []int32, text int) error) error {
	if t == nil || r == nil || emit == nil {
		return errors.New("tokenizer: encode: the tokenizer, the reader or the function that takes the ids is nil")
	}
	if err := emit(t.special.Before, 0); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pieces := make(chan *piece, runtime.GOMAXPROCS(0))
	failed := make(chan error, 1)
	go func() {
		failed <- t.read(ctx, r, pieces)
		close(pieces)
	}()
	for {
		var p *piece
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case p = <-pieces:
		}
		if p == nil {
			if err := <-failed; err != nil {
				return err
			}
			return emit(t.special.After, 0)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.done:
		}
		if p.err != nil {
			return p.err
		}
		if err := emit(p.ids, p.size); err != nil {
			return err
		}
	}
}

// piece is a part of a text on its way through a goroutine.
type piece struct {
	size int
	ids  []int32
	err  error
	done chan struct{}
}

// read cuts what r reads into pieces, has each encoded and sends them on.
func (t *Tokenizer) read(ctx context.Context, r io.Reader, pieces chan<- *piece) error {
	var text []byte
	start := true
	for size := pieceBytes; ; {
		from := len(text)
		text = append(text, make([]byte, size-from)...)
		n, err := io.ReadFull(r, text[from:])
		text = text[:from+n]
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return err
		}
		cut := len(text)
		if !end {
			if cut = t.pieceEnd(text, from); cut == 0 {
				size *= 2 // until there is a place
				continue
			}
		}
		p := &piece{size: cut, done: make(chan struct{})}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case pieces <- p:
		}
		go func(text string, start bool) {
			defer close(p.done)
			p.ids, p.err = t.encode(nil, text, start)
		}(string(text[:cut]), start)
		if end {
			return nil
		}
		text, size, start = append(text[:0], text[cut:]...), pieceBytes, false
	}
}

// pieceEnd returns where a text can be cut without a change to its ids: before
// the last white space after a letter or a digit; 0 where there is none. Before
// from there is none. See findCuts.
func (t *Tokenizer) pieceEnd(text []byte, from int) int {
	if t.id.Kind == "bytes" {
		return len(text)
	}
	for at := len(text) - 1; at > 0 && at >= from; at-- {
		if strings.IndexByte(t.cuts, text[at]) < 0 {
			continue
		}
		if before, _ := utf8.DecodeLastRune(text[:at]); unicode.IsLetter(before) || unicode.IsDigit(before) {
			return at
		}
	}
	return 0
}
