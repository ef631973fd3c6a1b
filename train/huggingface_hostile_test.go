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

func TestHuggingFaceConfigs(t *testing.T) {
	type config = map[string]any
	const gpt2, llama = "testdata/hf-gpt2", "testdata/hf-llama"
	for _, c := range []struct {
		from    string
		changes config
		want    string // "" for none
	}{
		{gpt2, config{"activation_function": "gelu_pytorch_tanh", "n_inner": 36, "layer_norm_epsilon": "absent", "n_layer": 2}, ""},
		{gpt2, config{"model_type": "gpt_neox"}, `model_type is "gpt_neox", want gpt2 or llama`},
		{gpt2, config{"model_type": "absent"}, `model_type is ""`},
		{gpt2, config{"model_type": "llama"}, "32 layers, but only 28 tensors"},
		{gpt2, config{"activation_function": "relu"}, `activation_function is "relu"`},
		{gpt2, config{"scale_attn_weights": false}, "scale_attn_weights is false"},
		{gpt2, config{"scale_attn_by_inverse_layer_idx": true}, "scale_attn_by_inverse_layer_idx"},
		{gpt2, config{"add_cross_attention": true}, "add_cross_attention"},
		{gpt2, config{"n_inner": nil}, `tensor "transformer.h.0.mlp.c_fc.weight" is [32 36], want [32 128]`},
		{gpt2, config{"vocab_size": 49}, `tensor "transformer.wte.weight" is [50 32], want [49 32]`},
		{gpt2, config{"n_layer": 1}, `tensor "transformer.h.1.attn.c_attn.bias" is not one`},
		{gpt2, config{"n_layer": 3}, `tensor "transformer.h.2.ln_1.weight" is missing`},
		{gpt2, config{"n_layer": 2147483647}, "2147483647 layers, but only 28 tensors"},
		{gpt2, config{"n_layer": -1}, "Layers is -1"},
		{gpt2, config{"n_head": 0}, "Heads is 0"},
		{gpt2, config{"n_head": 5}, "Width is 32"},
		{gpt2, config{"n_embd": 1e30}, "n_embd"},
		{gpt2, config{"vocab_size": "x"}, "vocab_size"},
		{gpt2, config{"tie_word_embeddings": false}, `tensor "lm_head.weight" is missing`},
		{llama, config{"head_dim": 16, "num_key_value_heads": 1, "rope_parameters": config{"rope_type": "default", "rope_theta": 5000}}, ""},
		{llama, config{"head_dim": 32}, "head_dim is 32, want hidden_size/num_attention_heads, which is 32/2"},
		{llama, config{"hidden_act": "gelu"}, `hidden_act is "gelu"`},
		{llama, config{"rope_scaling": config{"type": "linear", "factor": 2}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"rope_type": "llama3"}}, "rope_scaling is"},
		{llama, config{"rope_parameters": config{"rope_type": "yarn"}}, "rope_parameters are"},
		{llama, config{"rope_parameters": config{"partial_rotary_factor": 0.5}}, "rope_parameters are"},
		{llama, config{"attention_bias": true}, "attention_bias is true and mlp_bias false"},
		{llama, config{"attention_bias": true, "mlp_bias": true}, `tensor "model.layers.0.self_attn.q_proj.bias" is missing`},
		{llama, config{"num_key_value_heads": nil}, `tensor "model.layers.0.self_attn.k_proj.weight" is [16 32], want [32 32]`},
		{llama, config{"num_key_value_heads": 3}, "KVHeads is 3"},
		{llama, config{"rms_norm_eps": -1}, "NormEps is -1"},
	} {
		h, err := OpenHuggingFace(copyHF(t, c.from, c.changes))
		switch {
		case c.want != "":
			wantError(t, err, c.want)
		case err != nil:
			t.Errorf("%v: %v", c.changes, err)
		case h.Config != hfFolders[c.from]:
			t.Errorf("%v: config is\n%+v, want\n%+v", c.changes, h.Config, hfFolders[c.from])
		}
		if err == nil {
			h.Close()
		}
	}
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
	_, err = OpenHuggingFace(filepath.Join(dir, "none"))
	wantError(t, err, "config.json")
}

func TestHuggingFaceRefusesIndexes(t *testing.T) {
	const name, file = "model.embed_tokens.weight", "model-00001-of-00003.safetensors"
	for want, text := range map[string]string{
		"unexpected end of JSON":                        `{"weight_map": {`,
		`is in "../x.safetensors", which is not`:        `{"weight_map": {"` + name + `": "../x.safetensors"}}`,
		`is in "/etc/passwd", which is not`:             `{"weight_map": {"` + name + `": "/etc/passwd"}}`,
		`is in "", which is not`:                        `{"weight_map": {"` + name + `": ""}}`,
		`is in "config.json", which is not`:             `{"weight_map": {"` + name + `": "config.json"}}`,
		"none.safetensors":                              `{"weight_map": {"` + name + `": "none.safetensors"}}`,
		`tensor "model.norm.weight" is not in ` + file:  `{"weight_map": {"model.norm.weight": "` + file + `"}}`,
		"2 layers, but only 1 tensors":                  `{"weight_map": {"` + name + `": "` + file + `"}}`,
		`"model.layers.0.input_layernorm.weight" is mi`: `{"weight_map": {"` + name + `": "` + file + `", "model.layers.0.self_attn.q_proj.weight": "` + file + `"}}`,
	} {
		dir := copyHF(t, "testdata/hf-llama", nil)
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := OpenHuggingFace(dir)
		wantError(t, err, want)
	}
}
