package disk

import (
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
