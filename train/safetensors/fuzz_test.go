package safetensors

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/hostile"
)

var hostileFile = hostile.Format{Name: "safetensors", Read: readHostileFile, Limit: 48, Seeds: seeds}

func readHostileFile(t testing.TB, data []byte) error {
	f, err := read(bytes.NewReader(data), int64(len(data)), "x")
	if err != nil {
		return err
	}
	for _, name := range f.Names() {
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
	}
	return nil
}

func seeds(t testing.TB) [][]byte {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Save(path, testMeta, testEntries); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	many := bytes.Repeat([]byte(`"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`), 20)
	for i := range 20 {
		many[i*len(many)/20+1] += byte(i)
	}
	return append(hostile.Files(t, "testdata/*.safetensors"), data, rawFile("{"+string(many[:len(many)-1])+"}", 0))
}

func TestSpec6HostileFiles(t *testing.T) { hostileFile.Test(t) }

// FuzzSafetensors reads mutated safetensors files.
func FuzzSafetensors(f *testing.F) { hostileFile.Fuzz(f) }
