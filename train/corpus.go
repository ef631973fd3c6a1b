package train

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// Data is what a run reads: tokens to train on and held-out tokens to measure on.
// [OpenData] opens it; one put together by hand is as good, and checked by [Run].
type Data struct {
	Train, Val *Tokens
	// Tokenizer made the tokens; nil where it is not known which did.
	Tokenizer *tokenizer.Tokenizer

	name     string        // for messages
	files    []*Tokens     // whole, of which Train and Val are parts
	identity *dataIdentity // what a checkpoint remembers; nil until the tokens were checked
}

// OpenData opens what cfg.Data names: a token file (.bin, .npy), or a text, which
// may come through a pipe, or as "-" from the standard input, and which the
// tokenizer encodes as one document; without a name the Go standard library's
// source. The last cfg.ValFraction of the tokens is held out, but a name.train.bin
// that has a name.val.bin beside it is all for training, and that one is held out;
// see [TokenizeFiles]. Every token must be below cfg.Vocab.
//
// The tokenizer is the first of these that there is:
//
//  1. the one that cfg.Tokenizer names; [Config.ConfigureFrom] sets it to the model's,
//  2. the one that a token file's sidecar names,
//  3. for a text, bytes, if cfg.Vocab is 256 and the run starts from no other model.
//
// Where its file is gone, a run that is resumed takes the copy in its folder. A text
// without a tokenizer is an error, and so is a token file of another
// tokenizer than the one of cfg.
//
// What is being done goes to log, which may be nil for [slog.Default]. OpenData
// returns soon after ctx ends.
func OpenData(ctx context.Context, cfg Config, log *slog.Logger) (Data, error) {
	l := &loader{cfg: cfg, log: log}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.data.name = cmp.Or(cfg.Data, "the Go standard library's source")
	err := l.open(ctx)
	if err == nil {
		err = l.data.check(ctx, cfg, l.log)
	}
	if err != nil {
		return Data{}, errors.Join(err, l.data.Close())
	}
	return l.data, nil
}

// Close unmaps the token files.
func (d Data) Close() error {
	var err error
	for _, tokens := range d.files {
		err = errors.Join(err, tokens.Close())
	}
	return err
}

// loader is one call of OpenData.
type loader struct {
	cfg  Config
	log  *slog.Logger
	data Data
}

func (l *loader) open(ctx context.Context) error {
	if ext := strings.ToLower(filepath.Ext(l.cfg.Data)); ext == ".npy" || ext == ".bin" {
		return l.openTokens()
	}
	tok, err := l.textTokenizer()
	if err != nil {
		return err
	}
	l.data.Tokenizer = tok
	all, err := l.encode(ctx)
	if err != nil {
		return err
	}
	l.data.files = []*Tokens{all}
	l.hold(all)
	return nil
}

// hold holds the end of the tokens out.
func (l *loader) hold(all *Tokens) {
	cut := all.Len() - int64(float64(all.Len())*l.cfg.ValFraction)
	l.data.Train, l.data.Val = all.Slice(0, cut), all.Slice(cut, all.Len())
	l.data.Val.name = "the held-out part of " + all.name
}

// openTokens opens a token file, and the one with the held-out tokens if there is
// one.
func (l *loader) openTokens() error {
	path := l.cfg.Data
	all, err := l.openFile(path)
	if err != nil {
		return err
	}
	l.hold(all)
	if name, ok := strings.CutSuffix(path, trainExt); ok {
		val, err := l.openFile(name + valExt)
		switch about := all.about; {
		case err == nil && about != nil && about.HeldOut == nil:
			return fmt.Errorf("train: %s does not belong to %s, which was tokenized without held-out tokens: remove it, or tokenize again", val.name, path)
		case err == nil:
			l.data.Train, l.data.Val = all, val
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case about != nil && about.HeldOut != nil:
			return fmt.Errorf("train: the held-out tokens of %s are missing: %w", path, err)
		}
	}
	l.data.Tokenizer, err = l.tokenTokenizer(all.about)
	return err
}

func (l *loader) openFile(path string) (*Tokens, error) {
	tokens, err := OpenTokens(path, &TokenOptions{Width: l.cfg.TokenWidth, Vocab: l.cfg.Vocab})
	if err == nil {
		l.data.files = append(l.data.files, tokens)
	}
	return tokens, err
}

// encode encodes the text into memory.
func (l *loader) encode(ctx context.Context) (*Tokens, error) {
	var text io.Reader
	size := int64(0)
	if l.cfg.Data == "" {
		source, err := GoSource()
		if err != nil {
			return nil, err
		}
		text, size = bytes.NewReader(source), int64(len(source))
	} else {
		file, length, err := openText(l.cfg.Data, l.log)
		if err != nil {
			return nil, fmt.Errorf("train: data: %w", err)
		}
		defer file.Close()
		text, size = file, length
	}
	switch vocab := l.data.Tokenizer.Vocab(); {
	case vocab <= 1<<8:
		return encodeTokens[uint8](ctx, text, l, size)
	case vocab <= 1<<16:
		return encodeTokens[uint16](ctx, text, l, size)
	}
	return encodeTokens[int32](ctx, text, l, size)
}

func encodeTokens[T uint8 | uint16 | int32](ctx context.Context, text io.Reader, l *loader, size int64) (*Tokens, error) {
	var all []T
	p := &progress{log: l.log, what: "tokenizing", total: size}
	err := l.data.Tokenizer.EncodeReader(ctx, text, func(ids []int32, read int) error {
		p.add(read)
		for _, id := range ids {
			all = append(all, T(id))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("train: data: %s: %w", l.data.name, err)
	}
	tokens := NewTokens(all)
	tokens.name = l.data.name
	return tokens, nil
}
