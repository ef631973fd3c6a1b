package output

import (
	"errors"
	"os"

	"github.com/gofrs/flock"
)

// TryLock locks a file for this process, until Unlock or the end of the process; ours
// is false where another one has it. The file, which means nothing by itself, is
// created when missing, and opened with more flags. A file system without locks gives
// the lock to all.
func TryLock(path string, flags int) (lock *flock.Flock, ours bool, err error) {
	lock = flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR|flags), flock.SetPermissions(0o666))
	ours, err = lock.TryLock()
	if errors.Is(err, errors.ErrUnsupported) {
		return lock, true, nil
	}
	return lock, ours, err
}
