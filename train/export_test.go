package train

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// An export has files of the run's own model and tokenizer alone, whatever lies in
// the current folder, or by now where these did.
func TestExportCopiesNothingElse(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const relative = "tokenizer/testdata/tokenizer-digits.json"
	words, err := os.ReadFile("tokenizer/testdata/tokenizer-words.json")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("hf/testdata/llama/config.json")
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir() // another model, with a tokenizer of the same name
	for name, data := range map[string][]byte{
		"config.json": config, "generation_config.json": []byte(`{"eos_token_id":7}`), "tokenizer_config.json": []byte("{}"), "merges.txt": []byte("x"),
		relative: words, filepath.Join(filepath.Dir(relative), "tokenizer_config.json"): []byte("{}"),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(other, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, tokenizer string
		vocab           int
		want            []string
	}{
		{"no tokenizer", "", 256, []string{"config.json", "model.safetensors"}},
		{"a tokenizer elsewhere", relative, 512, []string{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}},
	} {
		t.Chdir(here)
		run := transformerRun(t, "first")
		run.Tokenizer, run.Vocab, run.TotalSteps = c.tokenizer, c.vocab, 2
		if c.tokenizer == "" {
			run.Data = writeTokens(t)
		}
		trainRun(t, run)
		t.Chdir(other)
		out := filepath.Join(t.TempDir(), "out")
		if err := ExportCheckpoint(t.Context(), run.Dir(), out); err != nil {
			t.Fatal(err)
		}
		if got := namesIn(t, out); !slices.Equal(got, c.want) {
			t.Errorf("%s: the export holds %q, want %q", c.name, got, c.want)
		}
		if data, err := os.ReadFile(filepath.Join(out, "generation_config.json")); err == nil && string(data) == `{"eos_token_id":7}` {
			t.Errorf("%s: generation_config.json is that of another model", c.name)
		}
	}
}

// writeTokens writes a token file of a vocabulary of 256.
func writeTokens(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.bin")
	ids := make([]byte, 2000)
	for i := 0; i < len(ids); i += 2 {
		ids[i] = byte(1 + i*i%101)
	}
	if err := os.WriteFile(path, ids, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
