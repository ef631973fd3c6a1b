package train

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

// replaceFile gives path the contents that write produces, or leaves it as it
// was: they go to a temporary file in the same folder, which is synced and takes
// path's name, and then the folder is synced. A missing folder is created.
func replaceFile(path string, write func(io.Writer) error) error {
	if err := writeAtomic(osFiles{}, path, func(f outFile) error { return write(f) }); err != nil {
		return fmt.Errorf("train: write %s: %w", path, err)
	}
	return nil
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
