//go:build unix

package input

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe is read where somebody writes to it, as a shell does for <(command), and
// waits for nobody; devices are refused.
func TestReadOfPipesAndDevices(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(pipe, 100); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("a pipe that nobody writes to: %v, want that it is empty", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString("text")
	w.Close()
	if data, err := Read(fmt.Sprintf("/dev/fd/%d", r.Fd()), 100); err != nil || string(data) != "text" {
		t.Errorf("read %q of the pipe, %v; want text", data, err)
	}
	if err := Regular(pipe); err == nil || !strings.Contains(err.Error(), "it is a pipe, want a file") {
		t.Errorf("a pipe: %v", err)
	}
	for _, device := range []string{"/dev/zero", "/dev/null"} {
		if _, err := Read(device, 100); err == nil || !strings.Contains(err.Error(), device+": it is a device, want a file") {
			t.Errorf("%s: %v", device, err)
		}
	}
}
