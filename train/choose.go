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
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// OpenTokenizer returns the tokenizer of the model at path, which is one that
// [OpenModel] or [OpenCustom] loads: that of the Hugging Face folder, or the one
// that the run was trained with.
func OpenTokenizer(path string) (*tokenizer.Tokenizer, error) {
	if isHuggingFace(path) {
		return openNamed(path, tokenizerIn(path), nil)
	}
	f, cfg, err := openRun(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name, id, err := checkpointTokenizer(f, cfg)
	if err != nil {
		return nil, err
	}
	return openNamed(path, name, id)
}

// openNamed opens the tokenizer of a name, "" where it is not known, for the model
// at path, which must be the one that id says, unless that is nil.
func openNamed(path, name string, id *tokenizer.ID) (*tokenizer.Tokenizer, error) {
	if name == "" {
		return nil, fmt.Errorf("train: %s: %w", path, tokenizer.Missing(path))
	}
	tok, err := tokenizer.Open(name)
	if err != nil {
		return nil, fmt.Errorf("train: the tokenizer of %s: %w", path, err)
	}
	if id != nil && id.SHA256 != tok.ID().SHA256 {
		return nil, fault.Mismatchedf("train: %s is not the tokenizer that %s was trained with: put that beside it as %s", name, path, tokenizer.FileName)
	}
	return tok, nil
}

// checkpointTokenizer returns the name of the tokenizer of a checkpoint's run, or ""
// where it is not known, and what the checkpoint says of it.
func checkpointTokenizer(f *safetensors.File, cfg Config) (name string, id *tokenizer.ID, err error) {
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
		if own, _, err := Latest(c.Dir()); err == nil && own != "" {
			return own
		}
	}
	return c.From
}
