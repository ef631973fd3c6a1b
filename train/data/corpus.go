package data

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// Corpus is what a run reads: tokens to train on and held-out tokens to measure on.
// [Open] opens it; one put together by hand is as good, once [Corpus.Check] has
// looked at it.
type Corpus struct {
	Train, Val *Tokens
	// Tokenizer made the tokens; nil where it is not known which did.
	Tokenizer *tokenizer.Tokenizer

	name        string    // for messages
	files       []*Tokens // whole, of which Train and Val are parts
	valFraction float64   // of them, where Val is a part of the one file
	identity    *Identity // nil until the tokens were checked
}

// Options say what to open, and what for.
type Options struct {
	// Path names a token file (.bin, .npy) or a text, which may come through a pipe, or
	// as "-" from the standard input; "" is the Go standard library's source.
	Path string
	// Vocab is the size of the model's vocabulary, Context the length of its windows.
	Vocab, Context int
	// ValFraction of the tokens is held out; where it is 0 none are, nor is a name.val.bin read.
	ValFraction float64
	// TokenWidth is as in [TokenOptions].
	TokenWidth int
	// Tokenizer is the name of one; "" decides as [Open] says.
	Tokenizer string
	// From is the model that training starts from, if any.
	From string
	// TokenizerCopy is a file to take where Tokenizer is one that is gone.
	TokenizerCopy string
}

// Open opens what o.Path names. A text is encoded as one document by the tokenizer.
// The last o.ValFraction of the tokens is held out, but a name.train.bin
// that has a name.val.bin beside it is all for training, and that one is held out;
// see [Tokenize]. Every token must be below o.Vocab.
//
// The tokenizer is the first of these that there is:
//
//  1. the one that o.Tokenizer names,
//  2. the one that a token file's sidecar names,
//  3. for a text, bytes, if o.Vocab is 256 and training starts from no other model.
//
// A text without a tokenizer is an error, and so is a token file of another
// tokenizer than the one of o.
//
// The listener, which may be nil, is told what is being done. Open returns soon after
// ctx ends.
func Open(ctx context.Context, o Options, listener *Listener) (Corpus, error) {
	l := &loader{o: o, Listener: listener.orSilent()}
	l.corpus.name, l.corpus.valFraction = cmp.Or(o.Path, "the Go standard library's source"), o.ValFraction
	err := l.open(ctx)
	if err == nil {
		err = l.corpus.Check(ctx, o.Vocab, o.Context, &l.Listener)
	}
	if err != nil {
		return Corpus{}, errors.Join(err, l.corpus.Close())
	}
	return l.corpus, nil
}

// Close unmaps the token files.
func (c Corpus) Close() error {
	var err error
	for _, tokens := range c.files {
		err = errors.Join(err, tokens.Close())
	}
	return err
}

// loader is one call of Open.
type loader struct {
	o Options
	Listener
	loading *meter.Meter // until the tokens, or the text, are open
	corpus  Corpus
}

func (l *loader) open(ctx context.Context) error {
	l.loading = l.start("loading data", 0, "")
	if ext := strings.ToLower(filepath.Ext(l.o.Path)); ext == ".npy" || ext == ".bin" {
		return l.openTokens()
	}
	tok, err := l.textTokenizer()
	if err != nil {
		return err
	}
	l.corpus.Tokenizer = tok
	all, err := l.encode(ctx)
	if err != nil {
		return err
	}
	l.corpus.files = []*Tokens{all}
	l.hold(all)
	return nil
}

// hold holds the end of the tokens out, if any is to be.
func (l *loader) hold(all *Tokens) {
	if l.o.ValFraction == 0 {
		l.corpus.Train = all
		return
	}
	cut := all.Len() - int64(float64(all.Len())*l.o.ValFraction)
	l.corpus.Train, l.corpus.Val = all.Slice(0, cut), all.Slice(cut, all.Len())
	l.corpus.Val.name = "the held-out part of " + all.name
}

// openTokens opens a token file, and the one with the held-out tokens if there is
// one.
func (l *loader) openTokens() error {
	path := l.o.Path
	all, err := l.openFile(path)
	if err != nil {
		return err
	}
	l.hold(all)
	if name, ok := strings.CutSuffix(path, trainExt); ok && l.o.ValFraction > 0 {
		val, err := l.openFile(name + valExt)
		switch about := all.about; {
		case err == nil && about != nil && about.HeldOut == nil:
			return fault.Mismatchedf("data: %s does not belong to %s, which was tokenized without held-out tokens: remove it, or tokenize again", val.name, path)
		case err == nil && about == nil && val.about != nil:
			return fault.Mismatchedf("data: %s%s is missing, which says that %s belongs to it: tokenize again, or remove %s%s", path, sidecarExt, val.name, val.name, sidecarExt)
		case err == nil:
			l.corpus.Train, l.corpus.Val = all, val
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case about != nil && about.HeldOut != nil:
			return fmt.Errorf("data: the held-out tokens of %s are missing: %w", path, err)
		}
	}
	l.loading.End()
	l.corpus.Tokenizer, err = l.tokenTokenizer(all.about)
	return err
}

func (l *loader) openFile(path string) (*Tokens, error) {
	tokens, err := OpenTokens(path, &TokenOptions{Width: l.o.TokenWidth, Vocab: l.o.Vocab})
	if err == nil {
		l.corpus.files = append(l.corpus.files, tokens)
	}
	return tokens, err
}

// encode encodes the text into memory.
func (l *loader) encode(ctx context.Context) (*Tokens, error) {
	var text io.Reader
	size := int64(0)
	if l.o.Path == "" {
		source, err := goSource()
		if err != nil {
			return nil, err
		}
		text, size = bytes.NewReader(source), int64(len(source))
	} else {
		file, length, err := openText(l.o.Path, l.Logger)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		defer file.Close()
		text, size = file, length
	}
	switch vocab := l.corpus.Tokenizer.Vocab(); {
	case vocab <= 1<<8:
		return encodeTokens[uint8](ctx, text, l, size)
	case vocab <= 1<<16:
		return encodeTokens[uint16](ctx, text, l, size)
	}
	return encodeTokens[int32](ctx, text, l, size)
}

func encodeTokens[T uint8 | uint16 | int32](ctx context.Context, text io.Reader, l *loader, size int64) (*Tokens, error) {
	var all []T
	l.loading.End()
	m := l.start("tokenizing", size, "bytes")
	err := l.corpus.Tokenizer.EncodeReader(ctx, text, func(ids []int32, read int) error {
		m.Add(read)
		for _, id := range ids {
			all = append(all, T(id))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", l.corpus.name, err)
	}
	m.End()
	tokens := NewTokens(all)
	tokens.name = l.corpus.name
	return tokens, nil
}
