package train

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

var someText = strings.Repeat("One two, three. ", 60)

// storedTensor is a tensor as a file has it.
type storedTensor struct{ dtype, values string }

// tensorsIn reads all tensors of a Hugging Face folder.
func tensorsIn(t *testing.T, dir string) map[string]storedTensor {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatal(dir, err)
	}
	all := map[string]storedTensor{}
	for _, path := range paths {
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range f.Names() {
			dtype, _, _ := f.Info(name)
			all[name] = storedTensor{dtype, string(tensorBytesOf(t, f, name))}
		}
		f.Close()
	}
	return all
}

func tensorBytesOf(t *testing.T, f *safetensors.File, name string) []byte {
	t.Helper()
	r, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func openTokenizer(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
