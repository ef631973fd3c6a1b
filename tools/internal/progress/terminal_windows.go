package progress

import (
	"os"

	"golang.org/x/sys/windows"
)

// obeys makes a console obey escape sequences, which those before Windows 10 can't.
func obeys(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	return windows.GetConsoleMode(console, &mode) == nil &&
		windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
