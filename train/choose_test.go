package train

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// The tokenizer of a model that is loaded.
func TestTokenizerOfAFolder(t *testing.T) {
	const folder = "hf/testdata/llama" // without a tokenizer.json
	c := DefaultConfig()
	c.Data, c.From = check.File(t, "a.txt", []byte(strings.Repeat("One two, three. ", 60))), folder
	if err := c.ConfigureFrom(folder); err != nil {
		t.Fatal(err)
	}
	_, err := OpenData(t.Context(), c, nil)
	check.Error(t, err, "a.txt is a text", folder+" has no tokenizer.json", "-tokenizer")
	if _, err := OpenTokenizer(folder); err == nil || !strings.Contains(err.Error(), "no tokenizer.json") {
		t.Errorf("the tokenizer of %s: %v", folder, err)
	}

	// What it has instead is named.
	dir := copyFolder(t, folder)
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokenizer(dir); err == nil || !strings.Contains(err.Error(), "only tokenizer.model") || !strings.Contains(err.Error(), "save_pretrained") {
		t.Errorf("a folder with tokenizer.model: %v", err)
	}

	// A folder's own file counts, whatever the size of the vocabulary.
	own, err := os.ReadFile("tokenizer/testdata/tokenizer-words.json")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tokenizer.json"), own, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	tok, err := OpenTokenizer(dir)
	if err != nil || tok.ID() != openTokenizer(t, "tokenizer/testdata/tokenizer-words.json").ID() {
		t.Errorf("the folder's own tokenizer: %v", err)
	}
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}
