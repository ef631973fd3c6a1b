package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/output"
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
		return nil, fmt.Errorf("train: %s: %w", path, tokenizer.Missing(path))
	}
	tok, err := tokenizer.Open(name)
	if err != nil {
		return nil, fmt.Errorf("train: the tokenizer of %s: %w", path, err)
	}
	if want != nil && want.SHA256 != tok.ID().SHA256 {
		return nil, fault.Mismatchedf("train: %s is not the tokenizer that %s was trained with: put that beside it as %s", name, path, tokenizer.FileName)
	}
	return tok, nil
}

// modelTokenizer returns the name of the tokenizer of the model at path, or "" where
// it is not known, and what a checkpoint says of it.
func modelTokenizer(path string) (name string, id *tokenizer.ID, err error) {
	if isHuggingFace(path) {
		return tokenizerIn(path), nil, nil
	}
	f, cfg, err := openCheckpoint(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	was, err := readIdentity(f.Meta())
	if err != nil {
		return "", nil, fmt.Errorf("train: checkpoint %s: %w", f.Path(), err)
	}
	if was != nil {
		id = was.Tokenizer
	}
	if cfg.Tokenizer == "" || slices.Contains(tokenizer.Builtin, cfg.Tokenizer) {
		return cfg.Tokenizer, id, nil
	}
	if name = tokenizerIn(filepath.Dir(f.Path())); name == "" {
		name = cfg.Tokenizer
	}
	return name, id, nil
}

// tokenizerIn returns the path of the tokenizer in a folder, "" for none.
func tokenizerIn(dir string) string {
	path, _ := tokenizer.Find(dir)
	return path
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

// writeTokenizer writes the files of a tokenizer to a folder.
func writeTokenizer(files output.System, dir string, tok *tokenizer.Tokenizer) error {
	contents, err := tok.Files()
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	for name, data := range contents {
		if err := output.Replace(files, filepath.Join(dir, name), data); err != nil {
			return fmt.Errorf("train: %w", err)
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
