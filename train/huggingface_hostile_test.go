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
		{gpt2, config{"model_type": "gpt_neox"}, `model_type is "gpt_neox", want gpt2, llama or mistral`},
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
		{llama, config{"rope_parameters": config{"rope_type": "yarn"}}, "rope_parameters is"},
		{llama, config{"rope_parameters": config{"partial_rotary_factor": 0.5}}, "rope_parameters is"},
		{gpt2, config{"pruned_heads": config{"0": []int{1}}}, `pruned_heads is {"0":[1]}`},
		{gpt2, config{"quantization_config": config{"bits": 4}}, `quantization_config is {"bits":4}`},
		{gpt2, config{"eos_token_id": "x"}, `eos_token_id is "x", want an id or a list of ids`},
		{gpt2, config{"n_layer": 2.5}, "n_layer is 2.5, want an integer"},
		{llama, config{"rope_scaling": config{"type": "linear"}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"type": "linear", "factor": 1, "surprise": 2}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"type": "longrope", "factor": 1, "short_factor": []int{2}}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"type": "yarn", "factor": 1, "attention_factor": 2}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"type": "dynamic", "factor": 4, "original_max_position_embeddings": 8}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"type": "yarn", "factor": 1, "original_max_position_embeddings": 8}}, "rope_scaling is"},
		{llama, config{"rope_scaling": config{"type": "default", "rope_theta": 7}}, "rope_scaling has rope_theta 7, beside rope_theta 5000"},
		{llama, config{"rope_scaling": "linear"}, `rope_scaling is "linear", want an object`},
		{llama, config{"rope_parameters": config{"full_attention": config{"rope_type": "default"}}}, "rope_parameters is"},
		{llama, config{"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"},
		{llama, config{"is_causal": false}, "is_causal is false"},
		{llama, config{"layer_types": []string{"full_attention", "chunked_attention"}}, `layer_types has "chunked_attention" for layer 1`},
		{llama, config{"sliding_window": -1}, "sliding_window is -1"},
		{llama, config{"model_type": "qwen2"}, `model_type is "qwen2"`},
		{llama, config{"model_type": []string{"llama"}}, "model_type is"},
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

// What changes nothing, or what a newer version calls otherwise, is taken.
func TestHuggingFaceConfigsThatMeanTheSame(t *testing.T) {
	type config = map[string]any
	const gpt2, llama = "testdata/hf-gpt2", "testdata/hf-llama"
	for _, c := range []struct {
		from    string
		changes config
	}{
		{gpt2, config{"eos_token_id": []int{2, 3}, "bos_token_id": nil, "pad_token_id": 0}},
		{gpt2, config{"n_embd": "absent", "hidden_size": 32, "n_layer": "absent", "num_hidden_layers": 2, "n_head": "absent", "num_attention_heads": 2,
			"n_positions": "absent", "max_position_embeddings": 16, "n_ctx": 16}},
		{gpt2, config{"torch_dtype": "absent", "dtype": "float32", "reorder_and_upcast_attn": true, "use_cache": false, "pruned_heads": config{}, "quantization_config": nil}},
		{gpt2, config{"tie_word_embeddings": "absent", "tie_encoder_decoder": false, "is_encoder_decoder": false, "task_specific_params": config{"text-generation": config{"max_length": 50}}}},
		{llama, config{"tie_word_embeddings": "absent", "pretraining_tp": 2, "attention_dropout": 0.1, "attention_bias": "absent", "mlp_bias": false, "head_dim": 16}},
		{llama, config{"eos_token_id": []int{2, 3}}},
		{llama, config{"head_dim": nil, "sliding_window": nil, "layer_types": []string{"full_attention", "full_attention"}}},
		{llama, config{"sliding_window": 4, "use_sliding_window": false}},
		{llama, config{"sliding_window": 4, "layer_types": []string{"full_attention", "full_attention"}}},
		{llama, config{"sliding_window": 16, "layer_types": []string{"sliding_attention", "full_attention"}}},
		{llama, config{"model_type": "mistral", "sliding_window": nil}},
		{llama, config{"model_type": "mistral", "sliding_window": "absent"}}, // 4096 then
		{llama, config{"rope_scaling": config{"type": "linear", "factor": 1.0}}},
		{llama, config{"rope_scaling": config{"rope_type": "llama3", "factor": 1.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}}},
		{llama, config{"rope_scaling": config{"rope_type": "yarn", "type": "yarn", "factor": 1, "beta_fast": 32, "mscale": 0.7}}},
		{llama, config{"rope_scaling": config{"type": "dynamic", "factor": 2.0}}}, // beyond the context only
		{llama, config{"rope_scaling": config{"rope_type": "default", "rope_theta": 5000.0}}},
		{llama, config{"rope_theta": "absent", "rope_parameters": config{"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 1.0}}},
		{llama, config{"rope_theta": "absent", "rope_scaling": config{"rope_type": "default", "rope_theta": 5000.0}}},
		{llama, config{"torch_dtype": "absent", "dtype": "bfloat16"}},
	} {
		h, err := OpenHuggingFace(copyHF(t, c.from, c.changes))
		if err != nil {
			t.Errorf("%v: %v", c.changes, err)
			continue
		}
		if h.Config != hfFolders[c.from] {
			t.Errorf("%v: config is\n%+v, want\n%+v", c.changes, h.Config, hfFolders[c.from])
		}
		if ids, ok := c.changes["eos_token_id"]; ok && !slices.Equal(h.EOS, []int32{2, 3}) {
			t.Errorf("eos_token_id is %v, want %v", h.EOS, ids)
		}
		h.Close()
	}
	// As far as its window the model is one without.
	h := openHF(t, copyHF(t, llama, config{"model_type": "mistral", "sliding_window": 12, "layer_types": []string{"full_attention", "full_attention"}}))
	if h.Config.Context != 12 {
		t.Errorf("context is %d beside a sliding window of 12", h.Config.Context)
	}
}

// What Python and editors put into a config.json beside JSON.
func TestHuggingFaceConfigText(t *testing.T) {
	plain, err := os.ReadFile("testdata/hf-llama/config.json")
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(string(plain), old) {
			t.Fatalf("no %q in config.json", old)
		}
		return strings.Replace(string(plain), old, new, 1)
	}
	for _, c := range []struct{ text, want string }{
		{"\xef\xbb\xbf" + string(plain), ""},
		{replace(`"initializer_range": 0.02`, `"initializer_range": NaN`), ""},
		{replace(`"initializer_range": 0.02`, `"limits": [0.0, -Infinity, {"NaN": "is \"NaN\""}]`), ""},
		{replace(`"rms_norm_eps": 1e-05`, `"rms_norm_eps": NaN`), "line 19, column 19: rms_norm_eps is NaN, want a number"},
		{replace(`"rms_norm_eps": 1e-05`, `"rms_norm_eps": `), "line 19, column 19: invalid character"},
		{string(plain[:100]), "unexpected end of JSON input"},
		{"", "unexpected end of JSON input"},
		{"[1]", "want a JSON object"},
		{"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 633\n", "git lfs pull"},
		{"<!doctype html>\n<html>Entry not found</html>", "is a web page"},
		{replace("silu", "s\xffilu"), "not UTF-8"},
	} {
		dir := copyHF(t, "testdata/hf-llama", nil)
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		if !IsHuggingFace(dir) {
			t.Errorf("%.60q: not taken for a Hugging Face folder", c.text)
		}
		h, err := OpenHuggingFace(dir)
		switch {
		case c.want != "":
			wantError(t, err, c.want, filepath.Join(dir, "config.json"))
		case err != nil:
			t.Errorf("%.60q: %v", c.text, err)
		case h.Config != hfFolders["testdata/hf-llama"]:
			t.Errorf("%.60q: config is %+v", c.text, h.Config)
		}
		if err == nil {
			h.Close()
		}
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
