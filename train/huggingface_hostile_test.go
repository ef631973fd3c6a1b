package train

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// copyHF copies a folder of testdata, with changes to its config.json.
func copyHF(t *testing.T, from string, changes map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	config := map[string]any{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	for key, value := range changes {
		if config[key] = value; value == "absent" {
			delete(config, key)
		}
	}
	if err == nil {
		data, err = json.Marshal(config)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// rewriteHF writes model.safetensors of a folder again, after a change to its tensors.
func rewriteHF(t *testing.T, dir string, change func(entries []Entry) []Entry) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	f, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	for _, name := range f.Names() {
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		dtype, shape, _ := f.Info(name)
		entries = append(entries, Entry{name, dtype, shape, func(w io.Writer) error { _, err := w.Write(data); return err }})
	}
	f.Close()
	if err := SaveFile(path, nil, change(entries)); err != nil {
		t.Fatal(err)
	}
}

// Names as wrappers leave them.
func TestHuggingFaceWrappedModels(t *testing.T) {
	for dir, renames := range map[string][]func(name string) string{
		"testdata/hf-gpt2": {
			func(name string) string { return "module." + name },
			func(name string) string { return "_orig_mod." + name },
			func(name string) string { return "module._orig_mod." + name },
			func(name string) string { return "model." + name },
			func(name string) string {
				return strings.Replace(name, ".attn.", "._checkpoint_wrapped_module.attn.", 1)
			},
			func(name string) string { return "module." + strings.TrimPrefix(name, "transformer.") },
		},
		"testdata/hf-llama": {
			func(name string) string { return "model." + name },
			func(name string) string { return "_orig_mod.module." + name },
			func(name string) string { return "_fsdp_wrapped_module." + name },
		},
	} {
		want := map[string][]float32{}
		if err := openHF(t, dir).each(func(name string, _ []int, v []float32) error { want[name] = v; return nil }); err != nil {
			t.Fatal(err)
		}
		for i, rename := range renames {
			wrapped := oneFileHF(t, dir, rename)
			n := 0
			err := openHF(t, wrapped).each(func(name string, _ []int, v []float32) error {
				if n++; !slices.Equal(v, want[name]) {
					t.Errorf("%s %d: %q differs", dir, i, name)
				}
				return nil
			})
			if err != nil || n != len(want) {
				t.Errorf("%s %d: %d parameters of %d, %v", dir, i, n, len(want), err)
			}
		}
	}
	dir := copyHF(t, "testdata/hf-gpt2", nil)
	rewriteHF(t, dir, func(e []Entry) []Entry {
		twice := e[0]
		twice.Name = "module." + twice.Name
		return append(e, twice)
	})
	_, err := OpenHuggingFace(dir)
	wantError(t, err, "are both")
}

// oneFileHF copies a folder into one file, its tensors renamed.
func oneFileHF(t *testing.T, from string, rename func(string) string) string {
	t.Helper()
	dir := copyHF(t, from, nil)
	var entries []Entry
	h := openHF(t, from)
	for name, data := range fileOf(t, h) {
		dtype, shape, _ := h.source[name].Info(name)
		entries = append(entries, Entry{rename(name), dtype, shape, func(w io.Writer) error { _, err := w.Write(data); return err }})
	}
	if err := SaveFile(filepath.Join(dir, "model.safetensors"), nil, entries); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Files as other versions wrote them: without the base model's prefix, with
// masks, with the tied head.
func TestHuggingFaceOtherWriters(t *testing.T) {
	dir := copyHF(t, "testdata/hf-gpt2", nil)
	rewriteHF(t, dir, func(entries []Entry) []Entry {
		for i := range entries {
			entries[i].Name = strings.TrimPrefix(entries[i].Name, "transformer.")
		}
		return append(entries, entry("h.0.attn.bias", "U8", count(4), 1, 1, 2, 2), entry("h.1.attn.masked_bias", "F32", count(4)),
			entry("lm_head.weight", "F32", count(8), 2, 1))
	})
	want, got := openHF(t, "testdata/hf-gpt2"), openHF(t, dir)
	values := map[string][]float32{}
	if err := want.each(func(name string, _ []int, v []float32) error { values[name] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := got.each(func(name string, _ []int, v []float32) error {
		if n++; !slices.Equal(v, values[name]) {
			t.Errorf("%q differs", name)
		}
		return nil
	})
	if err != nil || n != len(values) {
		t.Errorf("%d parameters of %d, %v", n, len(values), err)
	}
}

func TestHuggingFaceRefusesFiles(t *testing.T) {
	for want, change := range map[string]func(e []Entry) []Entry{
		`tensor "transformer.ln_f.bias" is missing`: func(e []Entry) []Entry {
			return slices.DeleteFunc(e, func(e Entry) bool { return e.Name == "transformer.ln_f.bias" })
		},
		`tensor "transformer.extra" is not one of this model`: func(e []Entry) []Entry { return append(e, entry("transformer.extra", "F32", count(4), 1)) },
		`is of type I32, want F32, F16 or BF16`:               func(e []Entry) []Entry { e[0].DType = "I32"; return e },
		`tensor "transformer.h.0.attn.c_attn.bias" is [2 48], want [96]`: func(e []Entry) []Entry {
			i := slices.IndexFunc(e, func(e Entry) bool { return e.Name == "transformer.h.0.attn.c_attn.bias" })
			e[i].Shape = []int{2, 48}
			return e
		},
	} {
		dir := copyHF(t, "testdata/hf-gpt2", nil)
		rewriteHF(t, dir, change)
		_, err := OpenHuggingFace(dir)
		wantError(t, err, want)
	}

	dir := copyHF(t, "testdata/hf-gpt2", nil)
	path := filepath.Join(dir, "model.safetensors")
	if err := os.Truncate(path, 40000); err != nil {
		t.Fatal(err)
	}
	_, err := OpenHuggingFace(dir)
	wantError(t, err, "truncated", path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = OpenHuggingFace(dir)
	wantError(t, err, "neither model.safetensors nor model.safetensors.index.json")
	if err := os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = OpenHuggingFace(dir)
	wantError(t, err, "no model.safetensors, but pytorch_model.bin")
	for text, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 633\n": "a git-lfs pointer",
		"<html><body>Entry not found</body></html>":                               "a web page",
		"PK\x03\x04\x00\x00\x08\x08":                                              "a zip archive, of torch.save perhaps",
		"":                                                                        "0 bytes: truncated",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := OpenHuggingFace(dir)
		wantError(t, err, want, path)
	}
	_, err = OpenHuggingFace(filepath.Join(dir, "none"))
	wantError(t, err, "config.json")
}

func TestHuggingFaceRefusesIndexes(t *testing.T) {
	const name, file = "model.embed_tokens.weight", "model-00001-of-00003.safetensors"
	for want, text := range map[string]string{
		"line 2, column 1: unexpected end of JSON": "{\"weight_map\":\n{",
		"weight_map is a number, want":             `{"weight_map": 3}`,

		`is in "../x.safetensors", which is not`:                      `{"weight_map": {"` + name + `": "../x.safetensors"}}`,
		`is in "/etc/passwd", which is not`:                           `{"weight_map": {"` + name + `": "/etc/passwd"}}`,
		`is in "", which is not`:                                      `{"weight_map": {"` + name + `": ""}}`,
		`is in "config.json", which is not`:                           `{"weight_map": {"` + name + `": "config.json"}}`,
		"1 files, of which 1 are missing, none.safetensors: download": `{"weight_map": {"` + name + `": "none.safetensors"}}`,
		`tensor "model.norm.weight" is not in ` + file:                `{"weight_map": {"model.norm.weight": "` + file + `"}}`,
		"2 layers, but only 1 tensors":                                `{"weight_map": {"` + name + `": "` + file + `"}}`,
		`"model.layers.0.input_layernorm.weight" is mi`:               `{"weight_map": {"` + name + `": "` + file + `", "model.layers.0.self_attn.q_proj.weight": "` + file + `"}}`,
	} {
		dir := copyHF(t, "testdata/hf-llama", nil)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := OpenHuggingFace(dir)
		wantError(t, err, want)
	}
}
