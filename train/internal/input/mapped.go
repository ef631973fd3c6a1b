package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"

	"golang.org/x/exp/mmap"
)

// Mapped is a memory-mapped file whose ReadAt returns an error where the file was cut short after it was opened, or
// its disk fails. A plain mapping kills the process there, or in the file's last page reads zeros.
type Mapped struct {
	path string
	data *mmap.ReaderAt
	file *os.File // the same, asked for what it still has
}

// Map opens a regular file.
func Map(path string) (*Mapped, error) {
	if err := Regular(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := mmap.Open(path)
	if named := new(fs.PathError); err != nil && !errors.As(err, &named) {
		err = &fs.PathError{Op: "map", Path: path, Err: err} // of a folder, for one
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Mapped{path, data, file}, nil
}

// ReadAt implements io.ReaderAt. It allocates nothing.
func (f *Mapped) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset >= int64(f.data.Len()) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			n, err = 0, f.unreadable(offset)
		}
	}()
	n, err = f.data.ReadAt(p, offset)
	if n > 0 { // the last of these bytes once more, from the file, which has an end
		if _, gone := f.file.ReadAt(p[n-1:n], offset+int64(n)-1); gone != nil {
			return 0, f.unreadable(offset)
		}
	}
	return n, err
}

// unreadable is the error of a byte that was there when the file was opened.
func (f *Mapped) unreadable(offset int64) error {
	if info, err := f.file.Stat(); err == nil && info.Size() < f.Size() {
		return fmt.Errorf("%s was cut short while it was in use: it had %d bytes and has %d", f.path, f.Size(), info.Size())
	}
	return fmt.Errorf("%s can't be read at byte %d: its disk, or the network to it, fails", f.path, offset)
}

// Path returns the file's name.
func (f *Mapped) Path() string { return f.path }

// Size returns the length in bytes that the file had when it was opened.
func (f *Mapped) Size() int64 { return int64(f.data.Len()) }

// Close unmaps the file. No ReadAt may be running.
func (f *Mapped) Close() error { return errors.Join(f.data.Close(), f.file.Close()) }
