//go:build !windows

package progress

import "os"

// obeys tells that a terminal obeys escape sequences.
func obeys(*os.File) bool { return true }
