//go:build !windows

package disk

import "golang.org/x/sys/unix"

// free returns what this user may write on the file system of a folder.
func free(folder string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
