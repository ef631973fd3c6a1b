package data

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// Tokenized says what Tokenize wrote.
type Tokenized struct {
	TrainPath, ValPath     string // ValPath is empty when nothing was held out
	Bytes                  int64  // of text
	TrainTokens, ValTokens int64
	Width                  int // bytes of a token
}

// The ends of the names of two token files that belong together.
const (
	trainExt = ".train.bin"
	valExt   = ".val.bin"
)

// Tokenize encodes text files, each one document, and writes the token files
// name.train.bin and name.val.bin, which [Open] reads: little-endian, 2 bytes per
// token where the vocabulary allows, else 4, with the JSON files name.train.bin.json
// and name.val.bin.json that say so, and which tokenizer it was. The last valFraction
// of the tokens is held out; with 0 there is no name.val.bin, and one that was there
// is removed. Files and pipes of any size, and the standard input as the path "-", pass through little memory; what was there
// before is replaced only when all is encoded, and not by empty texts. A nil log is slog.Default.
func Tokenize(ctx context.Context, tok *tokenizer.Tokenizer, name string, valFraction float64, log *slog.Logger, paths ...string) (Tokenized, error) {
	if tok == nil {
		return Tokenized{}, errors.New("data: tokenize: the tokenizer is nil")
	}
	if log == nil {
		log = slog.Default()
	}
	t := &tokenizing{Tokenized: Tokenized{TrainPath: name + trainExt, Width: tokenWidth(tok.Vocab())}, tok: tok, log: log, valPath: name + valExt}
	if !(valFraction >= 0 && valFraction < 1) {
		return t.Tokenized, fmt.Errorf("data: val_fraction is %v, want a number in [0, 1)", valFraction)
	}
	if _, base := filepath.Split(name); base == "" {
		return t.Tokenized, fmt.Errorf("data: tokenize: %q names no file, want what the names of the token files begin with", name)
	}
	err := t.run(ctx, valFraction, paths)
	if err != nil && context.Cause(ctx) == nil {
		err = fmt.Errorf("data: tokenize: %w", err)
	}
	return t.Tokenized, err
}

// tokenizing is one call of Tokenize.
type tokenizing struct {
	Tokenized
	tok     *tokenizer.Tokenizer
	log     *slog.Logger
	valPath string // also when it is not to be
}

func (t *tokenizing) run(ctx context.Context, valFraction float64, paths []string) (err error) {
	for _, path := range paths {
		for _, out := range []string{t.TrainPath, t.valPath} {
			if sameFile(path, out) {
				return fmt.Errorf("%s is a text to read and would be overwritten: choose another name", path)
			}
		}
	}
	dir, base := filepath.Split(t.TrainPath)
	if err := (output.OS{}).MkdirAll(filepath.Clean(dir)); err != nil {
		return err
	}
	temp := filepath.Join(dir, fmt.Sprintf(".%s.%016x.tmp", base, rand.Uint64()))
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		file.Close()
		os.Remove(temp) // unless it has its name
	}()
	total, err := t.encode(ctx, file, paths)
	if err == nil && total == 0 { // as where the program that wrote to a pipe failed
		err = errors.New("the texts are empty: nothing is written")
	}
	if err != nil {
		return err
	}
	t.ValTokens = int64(float64(total) * valFraction)
	t.TrainTokens = total - t.ValTokens
	if valFraction > 0 {
		t.ValPath = t.valPath
	}
	if err := t.replace(file, temp); err != nil {
		return err
	}
	return t.describe(ctx)
}

// encode writes the tokens of all texts and returns how many there are.
func (t *tokenizing) encode(ctx context.Context, file *os.File, paths []string) (total int64, err error) {
	out := bufio.NewWriterSize(file, 1<<16)
	var one [4]byte
	for _, path := range paths {
		text, size, err := openText(path, t.log)
		if err != nil {
			return 0, err
		}
		p := &progress{log: t.log, what: "tokenizing " + path, total: size}
		err = t.tok.EncodeReader(ctx, text, func(ids []int32, read int) error {
			p.add(read)
			t.Bytes += int64(read)
			total += int64(len(ids))
			for _, id := range ids {
				binary.LittleEndian.PutUint32(one[:], uint32(id))
				if _, err := out.Write(one[:t.Width]); err != nil {
					return err
				}
			}
			return nil
		})
		if err = errors.Join(err, text.Close()); err != nil {
			return 0, err
		}
	}
	return total, out.Flush()
}

// replace gives the files their names. The sidecars, which would be stale, go
// first: a pair of which only one is new has none that says it belongs together.
func (t *tokenizing) replace(file *os.File, temp string) error {
	gone := []string{t.TrainPath + sidecarExt, t.valPath + sidecarExt}
	if t.ValPath == "" {
		gone = append(gone, t.valPath)
	}
	for _, path := range gone {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	cut := t.TrainTokens * int64(t.Width)
	if t.ValPath != "" {
		err := output.Write(output.OS{}, t.ValPath, func(w output.File) error {
			_, err := io.Copy(w, io.NewSectionReader(file, cut, math.MaxInt64-cut))
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := errors.Join(file.Truncate(cut), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, t.TrainPath); err != nil {
		return err
	}
	return output.SyncFolder(filepath.Dir(t.TrainPath))
}

// describe writes the sidecars, that of the training tokens last: it says that both
// files belong together.
func (t *tokenizing) describe(ctx context.Context) error {
	var heldOut *Sum
	for _, path := range []string{t.ValPath, t.TrainPath} {
		if path == "" {
			continue
		}
		tokens, err := OpenTokens(path, &TokenOptions{Width: t.Width})
		if err != nil {
			return err
		}
		sum, err := tokens.check(ctx, t.tok.Vocab(), &progress{log: t.log, what: "checking " + path, total: tokens.Len()})
		if err = errors.Join(err, tokens.Close()); err != nil {
			return err
		}
		about := newSidecar(path, t.tok, t.Width, sum)
		if path == t.TrainPath {
			about.HeldOut = heldOut
		} else {
			heldOut = &sum
		}
		if err := about.write(path); err != nil {
			return err
		}
	}
	return nil
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}
