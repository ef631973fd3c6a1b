package hf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/hftest"
)

func TestConfigs(t *testing.T) {
	type config = map[string]any
	const gpt2, llama, mistral = "testdata/gpt2", "testdata/llama", "testdata/mistral"
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
		{gpt2, config{"n_layer": -1}, "layers is -1"},
		{gpt2, config{"n_head": 0}, "heads is 0"},
		{gpt2, config{"n_head": 5}, "width is 32, want a multiple of heads, which is 5"},
		{gpt2, config{"n_embd": 1e30}, "n_embd"},
		{gpt2, config{"vocab_size": "x"}, "vocab_size"},
		{gpt2, config{"tie_word_embeddings": false}, `tensor "lm_head.weight" is missing`},
		{llama, config{"head_dim": 16, "num_key_value_heads": 1, "rope_parameters": config{"rope_type": "default", "rope_theta": 5000}}, ""},
		{llama, config{"head_dim": 32}, `tensor "model.layers.0.self_attn.q_proj.weight" is [32 32], want [64 32]`},
		{mistral, config{"head_dim": nil}, "width is 30, want a multiple of heads, which is 4"},
		{mistral, config{"head_dim": 16}, `tensor "model.layers.0.self_attn.q_proj.weight" is [48 30], want [64 30]`},
		{mistral, config{"head_dim": 10}, "head_size is 10, want a multiple of 4"},
		{mistral, config{"head_dim": -12}, "head_size is -12"},
		{mistral, config{"head_dim": "12"}, `head_dim is "12", want an integer`},
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
		{llama, config{"num_key_value_heads": 3}, "kv_heads is 3"},
		{llama, config{"rms_norm_eps": -1}, "norm_eps is -1"},
	} {
		h, err := Open(hftest.Copy(t, c.from, c.changes))
		switch {
		case c.want != "":
			check.Error(t, err, c.want)
		case err != nil:
			t.Errorf("%v: %v", c.changes, err)
		case h.Config != folders[c.from]:
			t.Errorf("%v: config is\n%+v, want\n%+v", c.changes, h.Config, folders[c.from])
		}
		if err == nil {
			h.Close()
		}
	}
}

// What changes nothing, or what a newer version calls otherwise, is taken.
func TestConfigsThatMeanTheSame(t *testing.T) {
	type config = map[string]any
	const gpt2, llama = "testdata/gpt2", "testdata/llama"
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
		{"testdata/mistral", config{"model_type": "llama"}},
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
		h, err := Open(hftest.Copy(t, c.from, c.changes))
		if err != nil {
			t.Errorf("%v: %v", c.changes, err)
			continue
		}
		if h.Config != folders[c.from] {
			t.Errorf("%v: config is\n%+v, want\n%+v", c.changes, h.Config, folders[c.from])
		}
		h.Close()
	}
	// As far as its window the model is one without.
	h := openHF(t, hftest.Copy(t, llama, config{"model_type": "mistral", "sliding_window": 12, "layer_types": []string{"full_attention", "full_attention"}}))
	if h.Config.Context != 12 {
		t.Errorf("context is %d beside a sliding window of 12", h.Config.Context)
	}
}

// What Python and editors put into a config.json beside JSON.
func TestConfigText(t *testing.T) {
	plain, err := os.ReadFile("testdata/llama/config.json")
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
		{"", "is empty"},
		{"[1]", "want a JSON object"},
		{"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 633\n", "git lfs pull"},
		{"<!doctype html>\n<html>Entry not found</html>", "is a web page"},
		{replace("silu", "s\xffilu"), "not UTF-8"},
	} {
		dir := hftest.Copy(t, "testdata/llama", nil)
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		if !Is(dir) {
			t.Errorf("%.60q: not taken for a Hugging Face folder", c.text)
		}
		h, err := Open(dir)
		switch {
		case c.want != "":
			check.Error(t, err, c.want, filepath.Join(dir, "config.json"))
		case err != nil:
			t.Errorf("%.60q: %v", c.text, err)
		case h.Config != folders["testdata/llama"]:
			t.Errorf("%.60q: config is %+v", c.text, h.Config)
		}
		if err == nil {
			h.Close()
		}
	}
}
