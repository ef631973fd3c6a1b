// Package disk tells how much room there is, and whether it may be used.
package disk

import (
	"errors"
	"os"
	"path/filepath"
)

// Free returns how many bytes this user may write on the file system of a folder, which
// need not be there yet.
func Free(folder string) (uint64, error) {
	there, err := existing(folder)
	if err != nil {
		return 0, err
	}
	return free(there)
}

// Writable tries whether this user may make files in a folder, or make the folder.
func Writable(folder string) error {
	there, err := existing(folder)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(there, ".lemnos*")
	if err != nil {
		if path := (*os.PathError)(nil); errors.As(err, &path) {
			err = path.Err // without the name of a file that nobody asked for
		}
		return &os.PathError{Op: "write to", Path: there, Err: err}
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// existing is a folder, or of those that it will be in the nearest that is there.
func existing(folder string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(folder); err == nil || filepath.Dir(folder) == folder {
			return folder, nil
		}
		folder = filepath.Dir(folder)
	}
}
