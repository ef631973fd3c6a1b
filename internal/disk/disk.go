// Package disk tells how much room there is.
package disk

import (
	"os"
	"path/filepath"
)

// Free returns how many bytes this user may write on the file system of a folder, which
// need not be there yet.
func Free(folder string) (uint64, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return 0, err
	}
	for {
		if _, err := os.Stat(folder); err == nil || filepath.Dir(folder) == folder {
			return free(folder)
		}
		folder = filepath.Dir(folder)
	}
}
