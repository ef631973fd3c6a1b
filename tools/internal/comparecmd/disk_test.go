//go:build unix

package comparecmd

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// Where a picture finds no room the one that was there stays, and nothing else.
func TestPictureWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	writeRun(t, filepath.Join(dir, "run"), 2, nil)
	t.Chdir(dir)
	for _, name := range []string{"c.svg", "c.png"} {
		write(t, name, "before")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	small := limit
	small.Cur = 1000
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	for _, name := range []string{"c.svg", "c.png", "new.svg"} {
		_, log, status := compare("-o", name, "run")
		if status != command.Failed || !strings.Contains(log, "compare: write "+name+": ") {
			t.Errorf("%s: status %d, and it says %q", name, status, log)
		}
		if text, err := os.ReadFile(name); name != "new.svg" && string(text) != "before" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if names, _ := filepath.Glob("*"); len(names) != 3 {
		t.Errorf("there is %q", names)
	}
}
