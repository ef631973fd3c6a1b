package train

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
)

// maxSmallFile bounds the bytes of a configuration, an index or a sidecar.
const maxSmallFile = 64 << 20

// fileSystem is what saving asks of the operating system. Tests put failures and crashes behind it.
type fileSystem interface {
	MkdirAll(dir string) error
	Create(path string) (outFile, error) // a new file; an error if path exists
	Append(path string) (outFile, error) // a file that is there, for writes at its end
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error
	Names(dir string) ([]string, error) // of the files in a folder
}

type outFile interface {
	io.Writer
	io.WriterAt
	Sync() error
	Close() error
}

// writeAtomic gives path the contents that write produces, or leaves it as it was. See SaveFile.
func writeAtomic(files fileSystem, path string, write func(outFile) error) error {
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

// tempName is the form of writeAtomic's temporary names.
var tempName = regexp.MustCompile(`^\.(.+)\.[0-9a-f]+\.tmp$`)

// cutTemp returns the name of the file that a temporary file was to become, and
// whether name is that of one; else name itself.
func cutTemp(name string) (base string, isTemp bool) {
	if m := tempName.FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	return name, false
}

// replaceFile gives path the contents that write produces, or leaves it as it
// was: they go to a temporary file in the same folder, which is synced and takes
// path's name, and then the folder is synced. A missing folder is created.
func replaceFile(files fileSystem, path string, write func(io.Writer) error) error {
	if err := writeAtomic(files, path, func(f outFile) error { return write(f) }); err != nil {
		return fmt.Errorf("train: write %s: %w", path, err)
	}
	return nil
}

// osFiles is the fileSystem of the machine.
type osFiles struct{}

// MkdirAll creates a folder and those above it, and syncs the folders that got a new entry.
func (osFiles) MkdirAll(dir string) error {
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

func (osFiles) Create(path string) (outFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

func (osFiles) Append(path string) (outFile, error) {
	return os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_APPEND, 0)
}

func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) Remove(path string) error     { return os.Remove(path) }
func (osFiles) SyncDir(dir string) error     { return syncFolder(dir) }

func (osFiles) Names(dir string) ([]string, error) {
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
