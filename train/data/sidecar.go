package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// sidecar says what a raw token file holds. It is the JSON file name.bin.json
// beside name.bin; [Tokenize] writes it and [OpenTokens] believes it only if
// it fits the file.
type sidecar struct {
	Format    string       `json:"format"`
	Tokenizer tokenizer.ID `json:"tokenizer"`
	Path      string       `json:"tokenizer_path,omitempty"` // of its file, from the folder of the token file
	Vocab     int          `json:"vocab"`
	Width     int          `json:"width"` // bytes of a token
	Sum
	HeldOut *Sum `json:"held_out,omitempty"` // of the name.val.bin that belongs to a name.train.bin
}

// Sum tells one row of tokens from another.
type Sum struct {
	Tokens int64  `json:"tokens"`
	CRC32C string `json:"crc32c"` // of the ids as 4 bytes each, little-endian
}

const (
	sidecarExt    = ".json"
	sidecarFormat = "lemnos-tokens-1"
)

// readSidecar returns nil where there is none.
func readSidecar(path string) (*sidecar, error) {
	path += sidecarExt
	data, err := input.Read(path, input.MaxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s sidecar
	if err == nil {
		err = input.Unmarshal(data, &s)
	}
	if err == nil && s.Format != sidecarFormat {
		err = fault.Unsupportedf("format is %.40q", s.Format)
	}
	if err != nil {
		err = fault.Damaged(err)
		return nil, fmt.Errorf("%s is not a description of a token file in the format %s: remove it, or tokenize again (%w)", path, sidecarFormat, err)
	}
	if s.Width != 2 && s.Width != 4 || s.Tokens < 0 || s.Vocab < 1 {
		return nil, fault.Damaged(fmt.Errorf("%s says %d tokens of %d bytes and a vocabulary of %d, which can't be", path, s.Tokens, s.Width, s.Vocab))
	}
	return &s, nil
}

func (s *sidecar) write(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("data: %s: %w", path, err)
	}
	return output.Replace(output.OS{}, path+sidecarExt, append(data, '\n'))
}

// stale is the error of a sidecar that is not of the file beside it.
func stale(path, format string, args ...any) error {
	return fault.Mismatchedf("data: %s%s is not of %s: %s; tokenize again, or remove it", path, sidecarExt, path, fmt.Sprintf(format, args...))
}

// tokenizerName returns the name of the tokenizer that made the file at path, as
// far as it is known.
func (s *sidecar) tokenizerName(path string) string {
	if s.Tokenizer.Kind != "bpe" {
		return s.Tokenizer.Kind
	}
	if s.Path == "" || filepath.IsAbs(s.Path) {
		return s.Path
	}
	return filepath.Join(filepath.Dir(path), filepath.FromSlash(s.Path))
}

// newSidecar describes a token file at path.
func newSidecar(path string, tok *tokenizer.Tokenizer, width int, sum Sum) *sidecar {
	s := &sidecar{Format: sidecarFormat, Tokenizer: tok.ID(), Vocab: tok.Vocab(), Width: width, Sum: sum}
	if s.Tokenizer.Kind == "bpe" {
		s.Path = relative(filepath.Dir(path), tok.Name())
	}
	return s
}

// relative returns a path from a folder on, so that both can be moved together.
func relative(folder, path string) string {
	from, err := filepath.Abs(folder)
	to, err2 := filepath.Abs(path)
	if err != nil || err2 != nil {
		return path
	}
	rel, err := filepath.Rel(from, to)
	if err != nil { // on another drive
		return to
	}
	return filepath.ToSlash(rel)
}
