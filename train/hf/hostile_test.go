package hf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/hftest"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// Names as wrappers leave them.
func TestWrappedModels(t *testing.T) {
	for dir, renames := range map[string][]func(name string) string{
		"testdata/gpt2": {
			func(name string) string { return "module." + name },
			func(name string) string { return "_orig_mod." + name },
			func(name string) string { return "module._orig_mod." + name },
			func(name string) string { return "model." + name },
			func(name string) string {
				return strings.Replace(name, ".attn.", "._checkpoint_wrapped_module.attn.", 1)
			},
			func(name string) string { return "module." + strings.TrimPrefix(name, "transformer.") },
		},
		"testdata/llama": {
			func(name string) string { return "model." + name },
			func(name string) string { return "_orig_mod.module." + name },
			func(name string) string { return "_fsdp_wrapped_module." + name },
		},
	} {
		want := map[string][]float32{}
		if err := openHF(t, dir).each(func(name string, v []float32) error { want[name] = v; return nil }); err != nil {
			t.Fatal(err)
		}
		for i, rename := range renames {
			wrapped := oneFileHF(t, dir, rename)
			n := 0
			err := openHF(t, wrapped).each(func(name string, v []float32) error {
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
	dir := hftest.Copy(t, "testdata/gpt2", nil)
	hftest.Rewrite(t, dir, func(e []safetensors.Entry) []safetensors.Entry {
		twice := e[0]
		twice.Name = "module." + twice.Name
		return append(e, twice)
	})
	_, err := Open(dir)
	check.Error(t, err, "are both")
}

// oneFileHF copies a folder into one file, its tensors renamed.
func oneFileHF(t *testing.T, from string, rename func(string) string) string {
	t.Helper()
	dir := hftest.Copy(t, from, nil)
	var entries []safetensors.Entry
	h := openHF(t, from)
	for name, data := range fileOf(t, h) {
		dtype, shape, _ := h.source[name].Info(name)
		entries = append(entries, safetensors.Values(rename(name), dtype, shape, data))
	}
	if err := safetensors.Save(filepath.Join(dir, "model.safetensors"), nil, entries); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Files as other versions wrote them: without the base model's prefix, with
// masks, with the tied head.
func TestOtherWriters(t *testing.T) {
	dir := hftest.Copy(t, "testdata/gpt2", nil)
	hftest.Rewrite(t, dir, func(entries []safetensors.Entry) []safetensors.Entry {
		for i := range entries {
			entries[i].Name = strings.TrimPrefix(entries[i].Name, "transformer.")
		}
		return append(entries, safetensors.Values("h.0.attn.bias", "U8", []int{1, 1, 2, 2}, make([]byte, 4)), safetensors.Values("h.1.attn.masked_bias", "F32", []int{}, make([]byte, 4)),
			safetensors.Values("lm_head.weight", "F32", []int{2, 1}, make([]byte, 8)))
	})
	want, got := openHF(t, "testdata/gpt2"), openHF(t, dir)
	values := map[string][]float32{}
	if err := want.each(func(name string, v []float32) error { values[name] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := got.each(func(name string, v []float32) error {
		if n++; !slices.Equal(v, values[name]) {
			t.Errorf("%q differs", name)
		}
		return nil
	})
	if err != nil || n != len(values) {
		t.Errorf("%d parameters of %d, %v", n, len(values), err)
	}
}

func TestRefusesFiles(t *testing.T) {
	for want, change := range map[string]func(e []safetensors.Entry) []safetensors.Entry{
		`tensor "transformer.ln_f.bias" is missing`: func(e []safetensors.Entry) []safetensors.Entry {
			return slices.DeleteFunc(e, func(e safetensors.Entry) bool { return e.Name == "transformer.ln_f.bias" })
		},
		`tensor "transformer.extra" is not one of this model`: func(e []safetensors.Entry) []safetensors.Entry {
			return append(e, safetensors.Values("transformer.extra", "F32", []int{1}, make([]byte, 4)))
		},
		`is of type I32, want F32, F16 or BF16`: func(e []safetensors.Entry) []safetensors.Entry { e[0].DType = "I32"; return e },
		`tensor "transformer.h.0.attn.c_attn.bias" is [2 48], want [96]`: func(e []safetensors.Entry) []safetensors.Entry {
			i := slices.IndexFunc(e, func(e safetensors.Entry) bool { return e.Name == "transformer.h.0.attn.c_attn.bias" })
			e[i].Shape = []int{2, 48}
			return e
		},
	} {
		dir := hftest.Copy(t, "testdata/gpt2", nil)
		hftest.Rewrite(t, dir, change)
		_, err := Open(dir)
		check.Error(t, err, want)
	}

	dir := hftest.Copy(t, "testdata/gpt2", nil)
	path := filepath.Join(dir, "model.safetensors")
	if err := os.Truncate(path, 40000); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	check.Error(t, err, "truncated", path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	check.Error(t, err, "neither model.safetensors nor model.safetensors.index.json")
	if err := os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	check.Error(t, err, "no model.safetensors, but pytorch_model.bin")
	for text, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 633\n": "a git-lfs pointer",
		"<html><body>Entry not found</body></html>":                               "a web page",
		"PK\x03\x04\x00\x00\x08\x08":                                              "a zip archive, of torch.save perhaps",
		"":                                                                        "0 bytes: truncated",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		check.Error(t, err, want, path)
	}
	_, err = Open(filepath.Join(dir, "none"))
	check.Error(t, err, "config.json")
}

func TestRefusesIndexes(t *testing.T) {
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
		dir := hftest.Copy(t, "testdata/llama", nil)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		check.Error(t, err, want)
	}
}
