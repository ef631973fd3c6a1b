// Package output writes files so that they appear whole or not at all, and survive a crash once they are there.
package output

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
)

// System is what saving asks of the operating system. Tests put failures and crashes behind it.
type System interface {
	// MkdirAll creates a folder and those above it.
	MkdirAll(dir string) error
	// Create opens a new file. One that exists is an error.
	Create(path string) (File, error)
	// Append opens a file that is there, for writes at its end.
	Append(path string) (File, error)
	// Rename gives a file another name, which another one may have had.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(path string) error
	// SyncDir makes what was done in a folder durable.
	SyncDir(dir string) error
	// Names returns those of the files in a folder.
	Names(dir string) ([]string, error)
}

// File is a file that is being written.
type File interface {
	io.Writer
	io.WriterAt
	// Sync makes what was written durable.
	Sync() error
	// Close closes the file.
	Close() error
}

// Write gives path the contents that write produces, or leaves it as it was: they go to a temporary file in the same
// folder, which is synced and takes path's name, and then the folder is synced. A missing folder is created.
func Write(files System, path string, write func(File) error) error {
	dir, base := filepath.Split(path)
	dir = cmp.Or(filepath.Clean(dir), ".")
	if err := files.MkdirAll(dir); err != nil {
		return err
	}
	temp := filepath.Join(dir, fmt.Sprintf(".%s.%016x.tmp", base, rand.Uint64()))
	f, err := files.Create(temp)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = files.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, files.Remove(temp))
	}
	return files.SyncDir(dir)
}

// tempName is the form of Write's temporary names.
var tempName = regexp.MustCompile(`^\.(.+)\.[0-9a-f]+\.tmp$`)

// CutTemp returns the name of the file that a temporary file was to become, and
// whether name is that of one; else name itself.
func CutTemp(name string) (base string, isTemp bool) {
	if m := tempName.FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	return name, false
}

// Replace gives path these contents, as [Write] does.
func Replace(files System, path string, data []byte) error {
	err := Write(files, path, func(f File) error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Folder gives dir the files that write leaves in the new folder that it is called with, or
// leaves dir as it was: they lie beside it until all are whole, and take its name together.
// Where dir has files already they join these one by one, those that last names at the end.
func Folder(dir string, write func(temp string) error, last ...string) (err error) {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if err := (OS{}).MkdirAll(parent); err != nil {
		return err
	}
	temp := filepath.Join(parent, fmt.Sprintf(".%s.%016x.tmp", filepath.Base(dir), rand.Uint64()))
	if err := os.Mkdir(temp, 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		os.Remove(dir) // where it is empty
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return errors.Join(os.Rename(temp, dir), syncFolder(parent))
	}
	return join(dir, temp, last)
}

// CheckNew reports a file in dir that is in the way of a new one; taken says so by its name.
func CheckNew(dir string, taken func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if taken(e.Name()) {
			return fmt.Errorf("the folder holds %s already: choose a new folder", e.Name())
		}
	}
	return nil
}

// join moves the files of a folder to another, and removes it.
func join(dir, temp string, last []string) error {
	names, err := (OS{}).Names(temp)
	if err != nil {
		return err
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(slices.Index(last, a), slices.Index(last, b)) })
	for _, name := range names {
		if err := os.Rename(filepath.Join(temp, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(dir), os.Remove(temp))
}

// OS is the System of the machine.
type OS struct{}

// MkdirAll creates a folder and those above it, and syncs the folders that got a new entry.
func (OS) MkdirAll(dir string) error {
	var grown []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		grown = append(grown, filepath.Dir(at))
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, at := range grown {
		if err := syncFolder(at); err != nil {
			return err
		}
	}
	return nil
}

// Create implements [System].
func (OS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// Append implements [System].
func (OS) Append(path string) (File, error) {
	return os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_APPEND, 0)
}

// Rename implements [System].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements [System].
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements [System].
func (OS) SyncDir(dir string) error { return syncFolder(dir) }

// Names implements [System].
func (OS) Names(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	var names []string
	for _, entry := range list {
		if !entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// syncFolder makes a rename durable. Windows cannot sync folders and needs no
// such call.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
