package data

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/internal/input"
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
// of the tokens is held out; where that is not one token there is no name.val.bin, and one
// that was there is removed. Files and pipes of any size, and the standard input as the path "-", pass
// through little memory; what was there before is replaced only when all is written and
// checked, and not by empty texts; where the process ends while it is being replaced,
// [Open] refuses what is left. The listener may be nil.
func Tokenize(ctx context.Context, tok *tokenizer.Tokenizer, name string, valFraction float64, l *Listener, paths ...string) (Tokenized, error) {
	if tok == nil {
		return Tokenized{}, errors.New("data: tokenize: the tokenizer is nil")
	}
	t := &tokenizing{Tokenized: Tokenized{TrainPath: name + trainExt, Width: tokenWidth(tok.Vocab())}, tok: tok, Listener: l.orSilent(), valPath: name + valExt, files: output.OS{}}
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
	tok *tokenizer.Tokenizer
	Listener
	valPath string // also when it is not to be
	files   output.System

	train, val string // where the files are made
}

func (t *tokenizing) run(ctx context.Context, valFraction float64, paths []string) (err error) {
	if err := t.checkPlaces(paths); err != nil {
		return err
	}
	dir, base := filepath.Split(t.TrainPath)
	// All is made in a folder of one name, so that the next call removes what one that was killed has left.
	work := filepath.Join(dir, "."+base+".tokenizing")
	if err := (output.OS{}).MkdirAll(work); err != nil {
		return err
	}
	lock, ours, err := output.TryLock(filepath.Join(work, "lock"), 0)
	switch {
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("another process is writing %s: wait for it, or choose another name", t.TrainPath)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work), lock.Unlock()) }()
	t.train, t.val = filepath.Join(work, "train"), filepath.Join(work, "val")
	if err := t.write(ctx, valFraction, paths); err != nil {
		return err
	}
	return t.place(filepath.Clean(dir))
}

// checkPlaces reports places that the files can't be put in.
func (t *tokenizing) checkPlaces(texts []string) error {
	for _, out := range []string{t.TrainPath, t.valPath, t.TrainPath + sidecarExt, t.valPath + sidecarExt} {
		if info, err := os.Lstat(out); err == nil && info.IsDir() {
			return fmt.Errorf("%s is a folder: choose another name", out)
		}
		for _, path := range texts {
			if sameFile(path, out) {
				return fmt.Errorf("%s is a text to read and would be overwritten: choose another name", path)
			}
		}
	}
	return nil
}

// write makes the files, whole and checked, in the folder of work.
func (t *tokenizing) write(ctx context.Context, valFraction float64, paths []string) error {
	file, err := os.OpenFile(t.train, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	defer file.Close()
	total, err := t.encode(ctx, file, paths)
	if err == nil && total == 0 { // as where the program that wrote to a pipe failed
		err = errors.New("the texts are empty: nothing is written")
	}
	if err != nil {
		return err
	}
	t.ValTokens = int64(float64(total) * valFraction)
	t.TrainTokens = total - t.ValTokens
	if t.ValTokens > 0 {
		t.ValPath = t.valPath
	}
	if err := t.describe(ctx, total); err != nil {
		return err
	}
	cut := t.TrainTokens * int64(t.Width)
	if t.ValPath != "" {
		err := output.Write(output.OS{}, t.val, func(w output.File) error {
			_, err := io.Copy(w, io.NewSectionReader(file, cut, math.MaxInt64-cut))
			return err
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(file.Truncate(cut), file.Sync())
}

// encode writes the tokens of all texts and returns how many there are.
func (t *tokenizing) encode(ctx context.Context, file *os.File, paths []string) (total int64, err error) {
	out := bufio.NewWriterSize(file, 1<<16)
	var one [4]byte
	m := t.start("tokenizing", sizes(paths), "bytes")
	for _, path := range paths {
		text, _, err := openText(path, t.Logger)
		if err != nil {
			return 0, err
		}
		err = t.tok.EncodeReader(ctx, text, func(ids []int32, read int) error {
			m.Add(read)
			t.Bytes += int64(read)
			total += int64(len(ids))
			for _, id := range ids {
				if id < 0 || int(id) >= t.tok.Vocab() {
					return fmt.Errorf("the tokenizer makes the id %d, which is outside its vocabulary of %d", id, t.tok.Vocab())
				}
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
	m.End()
	return total, out.Flush()
}

// sizes adds up the lengths of files, 0 where one is a pipe.
func sizes(paths []string) (total int64) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			return 0
		}
		total += info.Size()
	}
	return total
}

// describe reads all tokens and writes the sidecars; that of the training tokens says
// which held-out ones belong to them.
func (t *tokenizing) describe(ctx context.Context, total int64) error {
	file, err := input.Map(t.train)
	if err != nil {
		return err
	}
	defer file.Close()
	all := &Tokens{source: &tokenFile{file, npyArray{n: total, width: t.Width}}, name: t.train, n: total}
	m := t.start("checking tokens", total, "tokens")
	sum, err := all.Slice(0, t.TrainTokens).check(ctx, t.tok.Vocab(), m)
	if err != nil {
		return err
	}
	about := newSidecar(t.TrainPath, t.tok, t.Width, sum)
	if t.ValPath != "" {
		held, err := all.Slice(t.TrainTokens, total).check(ctx, t.tok.Vocab(), m)
		if err != nil {
			return err
		}
		about.HeldOut = &held
		if err := newSidecar(t.ValPath, t.tok, t.Width, held).write(t.val); err != nil {
			return err
		}
	}
	m.End()
	return about.write(t.train)
}

// place gives the files their names. The sidecar of the training tokens, with the
// checksums of both files, is the first and these tokens are the last: where that is
// cut short, a sidecar is left that what lies beside it does not fit.
func (t *tokenizing) place(dir string) error {
	if err := t.files.Rename(t.train+sidecarExt, t.TrainPath+sidecarExt); err != nil {
		return err
	}
	if err := t.files.SyncDir(dir); err != nil {
		return err
	}
	for _, ext := range []string{sidecarExt, ""} {
		var err error
		if t.ValPath != "" {
			err = t.files.Rename(t.val+ext, t.valPath+ext)
		} else {
			err = t.files.Remove(t.valPath + ext)
		}
		if err != nil && !(t.ValPath == "" && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	if err := t.files.Rename(t.train, t.TrainPath); err != nil {
		return err
	}
	return t.files.SyncDir(dir)
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}
