package train

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"

	"golang.org/x/exp/mmap"

	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// mapped is a memory-mapped file whose ReadAt returns an error where the operating system can't deliver a page: the
// file was cut short after it was opened, or its disk failed. A plain mapping kills the process there.
type mapped struct {
	path string
	data *mmap.ReaderAt
}

func openMapped(path string) (*mapped, error) {
	if err := input.Regular(path); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	data, err := mmap.Open(path)
	if named := new(fs.PathError); err != nil && !errors.As(err, &named) {
		err = &fs.PathError{Op: "map", Path: path, Err: err} // of a folder, for one
	}
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return &mapped{path, data}, nil
}

// ReadAt implements io.ReaderAt. It allocates nothing.
func (f *mapped) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset >= int64(f.data.Len()) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			n, err = 0, fmt.Errorf("train: %s can't be read at byte %d: %v", f.path, offset, fault)
		}
	}()
	return f.data.ReadAt(p, offset)
}

// Size returns the length in bytes that the file had when it was opened.
func (f *mapped) Size() int64 { return int64(f.data.Len()) }

// Close unmaps the file. No ReadAt may be running.
func (f *mapped) Close() error { return f.data.Close() }
