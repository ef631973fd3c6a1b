package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"

	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// folderLock makes this process the only one that trains in a folder.
type folderLock struct {
	*flock.Flock
	dir    string
	folder fs.FileInfo // which dir names
	made   []string    // folders that were missing, dir first
}

// lockFolder locks a folder, which is created when missing, until Unlock. The lock is
// the operating system's: it ends with the process, however that ends, and the file
// means nothing.
func lockFolder(dir string) (*folderLock, error) { return openLock(dir, 0) }

// openLock is lockFolder with more flags to open the file with.
func openLock(dir string, flags int) (*folderLock, error) {
	var made []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	if err := (output.OS{}).MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("train: folder of the run: %w", err)
	}
	lock, ours, err := output.TryLock(filepath.Join(dir, lockName), flags)
	switch {
	case err != nil:
		return nil, fmt.Errorf("train: lock the folder of the run: %w", err)
	case !ours:
		return nil, fmt.Errorf("train: %s: %w: wait for it or stop it, or choose another run_name", dir, ErrRunning)
	}
	folder, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("train: folder of the run: %w", errors.Join(err, lock.Unlock()))
	}
	return &folderLock{lock, dir, folder, made}, nil
}

// release unlocks the folder. One without files of a run is left as it was found.
func (l *folderLock) release() error {
	names, err := (output.OS{}).Names(l.dir)
	if err != nil || slices.ContainsFunc(names, isRunFile) || l.held() != nil {
		return l.Unlock()
	}
	removed := os.Remove(l.Path())
	err = l.Unlock()
	if removed != nil { // Windows removes no open file
		os.Remove(l.Path())
	}
	for _, dir := range l.made {
		os.Remove(dir)
	}
	return err
}

// held reports that the folder of this name is not the one that is locked any more:
// it was renamed or removed, or the file of the lock was. An error that wraps
// [fs.ErrNotExist] says that there is no other in its place.
func (l *folderLock) held() error {
	ours, err := l.Stat()
	if err != nil {
		return fmt.Errorf("train: the lock of the run: %w", err)
	}
	there, err := os.Stat(l.Path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("train: the run's folder %s was renamed or removed, or its %s was: %w", l.dir, lockName, err)
	case err != nil:
		return fmt.Errorf("train: the lock of the run: %w", err)
	case !os.SameFile(ours, there):
		return fmt.Errorf("train: %s is not the folder that this run locked, or has another %s: another process may train there, so nothing is written; move it away", l.dir, lockName)
	}
	return nil
}

// renew makes and locks the folder anew where held has found none in its place. The
// file of the lock is a new one, so of several processes only one succeeds.
func (l *folderLock) renew() error {
	if there, err := os.Stat(l.dir); err == nil && !os.SameFile(there, l.folder) {
		return fmt.Errorf("train: another folder is in the place of %s: move it away", l.dir)
	}
	lock, err := openLock(l.dir, os.O_EXCL)
	if err != nil {
		return err
	}
	old := l.Flock
	*l = *lock
	return old.Unlock()
}

// lockedFiles are files of a locked folder: they are written only while it is.
type lockedFiles struct {
	output.System
	lock *folderLock
}

func (f lockedFiles) MkdirAll(dir string) error {
	return f.whileHeld(func() error { return f.System.MkdirAll(dir) })
}

func (f lockedFiles) Create(path string) (file output.File, err error) {
	err = f.whileHeld(func() error { file, err = f.System.Create(path); return err })
	return file, err
}

func (f lockedFiles) Append(path string) (file output.File, err error) {
	err = f.whileHeld(func() error { file, err = f.System.Append(path); return err })
	return file, err
}

func (f lockedFiles) Rename(from, to string) error {
	return f.whileHeld(func() error { return f.System.Rename(from, to) })
}

func (f lockedFiles) Remove(path string) error {
	return f.whileHeld(func() error { return f.System.Remove(path) })
}

func (f lockedFiles) whileHeld(do func() error) error {
	if err := f.lock.held(); err != nil {
		return err
	}
	return do()
}
