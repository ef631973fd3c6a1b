package train

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// OpenData opens what cfg.Data names: a token file (.bin, .npy), or a text, which
// cfg.Tokenizer encodes; without a name the Go standard library's source. The last
// cfg.ValFraction of it is held out, but a name.train.bin that has a name.val.bin
// beside it is all for training, and that one is held out; see [TokenizeFiles].
// Every token must be below cfg.Vocab.
func OpenData(cfg Config) (Data, error) {
	all, err := openTokens(cfg)
	if err != nil {
		return Data{}, err
	}
	cut := all.Len() - int64(float64(all.Len())*cfg.ValFraction)
	d := Data{Train: all.Slice(0, cut), Val: all.Slice(cut, all.Len()), close: all.Close}
	if name, ok := strings.CutSuffix(cfg.Data, trainExt); ok {
		val, err := OpenTokens(name+valExt, &TokenOptions{Width: cfg.TokenWidth})
		switch {
		case err == nil:
			d = Data{Train: all, Val: val, close: func() error { return errors.Join(all.Close(), val.Close()) }}
		case !errors.Is(err, fs.ErrNotExist):
			return Data{}, errors.Join(err, all.Close())
		}
	}
	for _, part := range []*Tokens{d.Train, d.Val} {
		if err := errors.Join(part.Fits(cfg.ContextLen), part.CheckVocab(cfg.Vocab)); err != nil {
			return Data{}, errors.Join(fmt.Errorf("%w (%s)", err, dataName(cfg)), d.Close())
		}
	}
	return d, nil
}

// Close unmaps the token files.
func (d Data) Close() error { return d.close() }

func openTokens(cfg Config) (*Tokens, error) {
	switch ext := strings.ToLower(filepath.Ext(cfg.Data)); {
	case cfg.Data == "":
		text, err := GoSource()
		if err != nil {
			return nil, err
		}
		return textTokens(cfg, bytes.NewReader(text))
	case ext == ".npy":
		return OpenTokens(cfg.Data, nil)
	case ext == ".bin":
		return OpenTokens(cfg.Data, &TokenOptions{Width: cfg.TokenWidth})
	}
	text, err := os.Open(cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("train: data: %w", err)
	}
	defer text.Close()
	return textTokens(cfg, text)
}

// textTokens encodes a text into memory.
func textTokens(cfg Config, text io.Reader) (*Tokens, error) {
	if cfg.Tokenizer == "bytes" {
		all, err := io.ReadAll(text)
		if err != nil {
			return nil, fmt.Errorf("train: data: %w", err)
		}
		return TextTokens(all), nil
	}
	tok, err := NewTokenizer(cfg.Tokenizer)
	if err != nil {
		return nil, err
	}
	if tokenWidth(tok.Vocab()) == 2 {
		return encodeTokens[uint16](text, tok)
	}
	return encodeTokens[int32](text, tok)
}

func encodeTokens[T uint16 | int32](text io.Reader, tok Tokenizer) (*Tokens, error) {
	var all []T
	err := encodeText(text, tok, func(ids []int32) error {
		for _, id := range ids {
			all = append(all, T(id))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("train: data: %w", err)
	}
	return NewTokens(all), nil
}

func dataName(cfg Config) string {
	if cfg.Data == "" {
		return "the Go standard library's source"
	}
	return cfg.Data
}

// goSourceBytes is enough text to train on for minutes, and loads at once.
const goSourceBytes = 16 << 20

// generated is how a program's output names itself, see `go help generate`.
// Such files are large, and all alike.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// GoSource returns up to 16 MB of the Go standard library's source, found
// through `go env GOROOT`: its files in the order of their paths, tests, commands
// and generated files left out. Text that every Go programmer has at hand.
func GoSource() ([]byte, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("train: no -data given and `go env GOROOT` failed: %w", err)
	}
	var text bytes.Buffer
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor" || path == filepath.Join(root, "cmd")):
			return fs.SkipDir
		case text.Len() >= goSourceBytes:
			return fs.SkipAll
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if !generated.Match(b) {
			text.Write(b)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("train: Go source: %w", err)
	}
	if text.Len() == 0 {
		return nil, fmt.Errorf("train: no Go source under %s", root)
	}
	return text.Bytes(), nil
}
