// Package input reads files that others wrote, and says in words what is wrong
// with them.
package input

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// Regular reports a path that is there and no regular file, for readers that need
// one: opening a pipe that nobody writes to would wait for ever, and some devices
// have no end. The error wraps the operating system's.
func Regular(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() {
		return err
	}
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("it is %s, want a file", kind(info.Mode()))}
}

// MaxSmall bounds the bytes of a configuration, an index or a sidecar.
const MaxSmall = 64 << 20

// kind says what is no regular file.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// Read reads a file of text that has no reason to have more than so many bytes,
// without the byte order mark that some editors put before it. It refuses what is
// known not to be the file that its name says. A pipe is read as far as there is
// somebody who writes to it.
func Read(path string, most int64) ([]byte, error) {
	err := Regular(path)
	if info, _ := os.Stat(path); info != nil && info.Mode()&fs.ModeNamedPipe != 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > most:
		return nil, fault.Damaged(fmt.Errorf("%s has more than %d bytes", path, most))
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fault.Damaged(fmt.Errorf("%s is empty", path))
	}
	if what := Foreign(data); what != "" {
		return nil, fault.Unsupportedf("%s is %s", path, what)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}
