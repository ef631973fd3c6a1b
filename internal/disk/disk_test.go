package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFree(t *testing.T) {
	dir := t.TempDir()
	there, err := Free(dir)
	if err != nil || there < 1<<20 || there > 1<<60 {
		t.Errorf("%d bytes, %v", there, err)
	}
	t.Chdir(dir)
	for _, folder := range []string{"", ".", "new", filepath.Join(dir, "new", "run")} { // not there: its parent
		again, err := Free(folder)
		if moved := int64(there) - int64(again); err != nil || moved < -1<<30 || moved > 1<<30 { // others write there too
			t.Errorf("%q: %d bytes free, %d in its parent, %v", folder, again, there, err)
		}
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	folders := map[string]bool{dir: true, filepath.Join(dir, "new", "run"): true, file: false, filepath.Join(file, "run"): false}
	if _, err := os.Stat("/proc/self"); err == nil { // where the owner of all can't write either
		folders["/proc/self"] = false
	}
	for folder, want := range folders {
		if err := Writable(folder); (err == nil) != want {
			t.Errorf("%s: %v", folder, err)
		}
	}
	if entries, err := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("files are left: %v, %v", entries, err)
	}
}
