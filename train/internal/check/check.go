// Package check has what the tests of several packages need.
package check

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// Error fails unless err begins with the name of a package and contains every part.
func Error(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	for _, name := range []string{"train", "data", "safetensors", "torch", "hf"} {
		if strings.HasPrefix(err.Error(), name+": ") {
			return
		}
	}
	t.Errorf("error %q does not begin with the package", err)
}

// File writes a file to a temporary folder and returns its path.
func File(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// NoAllocs fails if f allocates. The race detector's own bookkeeping moves buffers of
// system calls to the heap, so a test that it watches is not counted.
func NoAllocs(t testing.TB, name string, f func()) {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return
	}
	if n := testing.AllocsPerRun(10, f); n != 0 {
		t.Errorf("%s allocates %v times", name, n)
	}
}
