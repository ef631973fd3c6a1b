package train

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// OpenTokenizer returns the tokenizer of the model at path, which is one that
// [OpenModel] loads: that of the Hugging Face folder, or the one that the run was
// trained with.
func OpenTokenizer(path string) (*tokenizer.Tokenizer, error) {
	name, want, err := modelTokenizer(path)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("train: %s: %w", path, missingTokenizer(path))
	}
	tok, err := tokenizer.Open(name)
	if err != nil {
		return nil, fmt.Errorf("train: the tokenizer of %s: %w", path, err)
	}
	if want != nil && want.SHA256 != tok.ID().SHA256 {
		return nil, fmt.Errorf("train: %s is not the tokenizer that %s was trained with: put that beside it as %s", name, path, tokenizer.FileName)
	}
	return tok, nil
}

// modelTokenizer returns the name of the tokenizer of the model at path, or "" where
// it is not known, and what a checkpoint says of it.
func modelTokenizer(path string) (name string, id *tokenizer.ID, err error) {
	if IsHuggingFace(path) {
		return tokenizerIn(path), nil, nil
	}
	f, cfg, err := openCheckpoint(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	data, err := readIdentity(f.Meta())
	if err != nil {
		return "", nil, fmt.Errorf("train: checkpoint %s: %w", f.path, err)
	}
	if data != nil {
		id = data.Tokenizer
	}
	switch cfg.Tokenizer {
	case "", "bytes", "gpt2":
		return cfg.Tokenizer, id, nil
	}
	if name = tokenizerIn(filepath.Dir(f.path)); name == "" {
		name = cfg.Tokenizer
	}
	return name, id, nil
}

// tokenizerIn returns the path of the tokenizer in a folder, "" for none.
func tokenizerIn(dir string) string {
	path, _ := tokenizer.Find(dir)
	return path
}

// missingTokenizer says what to do about a folder without a tokenizer.
func missingTokenizer(dir string) error {
	_, err := tokenizer.Find(dir)
	return fmt.Errorf("%w; a tokenizer is named with -tokenizer (bytes, gpt2 or a %s)", err, tokenizer.FileName)
}

// checkTokenizer reports a name that is no tokenizer's.
func (c Config) checkTokenizer() error {
	if c.Tokenizer == "" {
		return nil
	}
	if err := tokenizer.CheckName(c.Tokenizer); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// textTokenizer decides what encodes the text, see OpenData.
func (l *loader) textTokenizer() (*tokenizer.Tokenizer, error) {
	c := l.cfg
	name := c.Tokenizer
	switch {
	case name == "" && c.From != "":
		return nil, fmt.Errorf("train: %s is a text, and the model at %s has %w", l.data.name, c.From, missingTokenizer(c.From))
	case name == "" && c.Vocab != 256:
		return nil, fmt.Errorf("train: %s is a text, and no tokenizer is known for the vocabulary of %d: name one with tokenizer (bytes, gpt2 or a %s)", l.data.name, c.Vocab, tokenizer.FileName)
	case name == "":
		name = "bytes"
	}
	tok, err := l.openTokenizer(name)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return tok, nil
}

// openTokenizer opens a tokenizer, or where its file is gone the copy in the folder
// of the run, if that was begun.
func (l *loader) openTokenizer(name string) (*tokenizer.Tokenizer, error) {
	tok, err := tokenizer.Open(name)
	dir := l.cfg.Dir()
	if !errors.Is(err, fs.ErrNotExist) || tokenizerIn(dir) == "" {
		return tok, err
	}
	if begun, _, err2 := Latest(dir, checkpointName); err2 != nil || begun == "" {
		return nil, err
	}
	l.log.Warn("the tokenizer is gone: its copy in the run's folder is used", "tokenizer", name)
	return tokenizer.Open(tokenizerIn(dir))
}

// tokenTokenizer decides what made a token file, see OpenData; nil is not known.
func (l *loader) tokenTokenizer(about *sidecar) (*tokenizer.Tokenizer, error) {
	c := l.cfg
	if about != nil && about.Vocab > c.Vocab {
		return nil, fmt.Errorf("train: %s was made with a vocabulary of %d, vocab is %d", l.data.name, about.Vocab, c.Vocab)
	}
	name := c.Tokenizer
	if name == "" && about != nil {
		name = about.tokenizerName(c.Data)
	}
	if name == "" {
		l.log.Warn("what the tokens mean is not known: samples are ids", "data", c.Data)
		return nil, nil
	}
	tok, err := l.openTokenizer(name)
	switch {
	case err != nil && errors.Is(err, fs.ErrNotExist) && c.Tokenizer != "":
		return nil, fmt.Errorf("train: %w", err)
	case err != nil: // training needs none
		l.log.Warn("what the tokens mean can't be told: samples are ids", "error", err)
		return nil, nil
	case about != nil && about.Tokenizer.SHA256 != tok.ID().SHA256:
		return nil, fmt.Errorf("train: %s was made with another tokenizer (%s %.8s) than %s (%s %.8s): tokenize the text again",
			c.Data, about.Tokenizer.Kind, about.Tokenizer.SHA256, name, tok.ID().Kind, tok.ID().SHA256)
	}
	return tok, nil
}

// writeTokenizer writes the files of a tokenizer to a folder.
func writeTokenizer(files fileSystem, dir string, tok *tokenizer.Tokenizer) error {
	contents, err := tok.Files()
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	for name, data := range contents {
		err := replaceFile(files, filepath.Join(dir, name), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// source is where the structure of a run with From stands: its own newest
// checkpoint does where the model that it started from is gone.
func (c Config) source() string {
	if _, err := os.Stat(c.From); errors.Is(err, fs.ErrNotExist) {
		if own, _, err := Latest(c.Dir(), checkpointName); err == nil && own != "" {
			return own
		}
	}
	return c.From
}
