package data

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// textTokenizer decides what encodes the text, see Open.
func (l *loader) textTokenizer() (*tokenizer.Tokenizer, error) {
	o := l.o
	name := o.Tokenizer
	switch {
	case name == "" && o.From != "":
		return nil, fmt.Errorf("data: %s is a text, and the model at %s has %w", l.corpus.name, o.From, tokenizer.Missing(o.From))
	case name == "" && o.Vocab != 256:
		return nil, fmt.Errorf("data: %s is a text, and no tokenizer is known for the vocabulary of %d: name one with tokenizer (bytes, gpt2 or a %s)", l.corpus.name, o.Vocab, tokenizer.FileName)
	case name == "":
		name = "bytes"
	}
	tok, err := l.openTokenizer(name)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return tok, nil
}

// openTokenizer opens a tokenizer, or where its file is gone the copy.
func (l *loader) openTokenizer(name string) (*tokenizer.Tokenizer, error) {
	tok, err := tokenizer.Open(name)
	if !errors.Is(err, fs.ErrNotExist) || l.o.TokenizerCopy == "" {
		return tok, err
	}
	l.Logger.Warn("the tokenizer is gone: its copy is used", "tokenizer", name, "copy", l.o.TokenizerCopy)
	return tokenizer.Open(l.o.TokenizerCopy)
}

// tokenTokenizer decides what made a token file, see Open; nil is not known.
func (l *loader) tokenTokenizer(about *sidecar) (*tokenizer.Tokenizer, error) {
	o := l.o
	if about != nil && about.Vocab > o.Vocab {
		return nil, fault.Mismatchedf("data: %s was made with a vocabulary of %d, vocab is %d", l.corpus.name, about.Vocab, o.Vocab)
	}
	name := o.Tokenizer
	if name == "" && about != nil {
		name = about.tokenizerName(o.Path)
	}
	if name == "" {
		l.Logger.Warn("what the tokens mean is not known: samples are ids", "data", o.Path)
		return nil, nil
	}
	tok, err := l.openTokenizer(name)
	switch {
	case err != nil && errors.Is(err, fs.ErrNotExist) && o.Tokenizer != "":
		return nil, fmt.Errorf("data: %w", err)
	case err != nil: // training needs none
		l.Logger.Warn("what the tokens mean can't be told: samples are ids", "error", err)
		return nil, nil
	case about != nil && about.Tokenizer.SHA256 != tok.ID().SHA256:
		return nil, fault.Mismatchedf("data: %s was made with another tokenizer (%s %.8s) than %s (%s %.8s): tokenize the text again",
			o.Path, about.Tokenizer.Kind, about.Tokenizer.SHA256, name, tok.ID().Kind, tok.ID().SHA256)
	}
	return tok, nil
}
