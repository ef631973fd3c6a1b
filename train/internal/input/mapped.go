package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"

	"golang.org/x/exp/mmap"
)

// Mapped is a memory-mapped file whose ReadAt returns an error where the operating system can't deliver a page: the
// file was cut short after it was opened, or its disk failed. A plain mapping kills the process there.
type Mapped struct {
	path string
	data *mmap.ReaderAt
}

// Map opens a regular file.
func Map(path string) (*Mapped, error) {
	if err := Regular(path); err != nil {
		return nil, err
	}
	data, err := mmap.Open(path)
	if named := new(fs.PathError); err != nil && !errors.As(err, &named) {
		err = &fs.PathError{Op: "map", Path: path, Err: err} // of a folder, for one
	}
	if err != nil {
		return nil, err
	}
	return &Mapped{path, data}, nil
}

// ReadAt implements io.ReaderAt. It allocates nothing.
func (f *Mapped) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset >= int64(f.data.Len()) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			n, err = 0, fmt.Errorf("%s can't be read at byte %d: %v", f.path, offset, fault)
		}
	}()
	return f.data.ReadAt(p, offset)
}

// Path returns the file's name.
func (f *Mapped) Path() string { return f.path }

// Size returns the length in bytes that the file had when it was opened.
func (f *Mapped) Size() int64 { return int64(f.data.Len()) }

// Close unmaps the file. No ReadAt may be running.
func (f *Mapped) Close() error { return f.data.Close() }
