package hf

import (
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/hostile"
)

var hostileConfig = hostile.Format{Name: "huggingface", Read: readHostileConfig, Limit: 512,
	Seeds: func(t testing.TB) [][]byte { return append(hostile.Files(t, "testdata/*/config.json"), oddConfigs...) }}

// What is read of a config.json can be written and read again.
func readHostileConfig(t testing.TB, data []byte) error {
	o, err := parseObject(data)
	if err != nil {
		return err
	}
	again, err := parseObject(o.bytes())
	if err != nil || len(again.fields) != len(o.fields) {
		t.Fatalf("%q was written as %q: %v", data, o.bytes(), err)
	}
	for key, value := range o.fields {
		if again.fields[key].raw != value.raw {
			t.Fatalf("%q: %q was written as %q", key, value.raw, again.fields[key].raw)
		}
	}
	c, _, err := o.structure()
	if other, _, err2 := again.structure(); c != other || (err == nil) != (err2 == nil) {
		t.Fatalf("%+v, %v, was written as %+v, %v", c, err, other, err2)
	}
	if err == nil && c.Validate() != nil {
		t.Fatalf("an impossible structure is accepted: %v", c.Validate())
	}
	return err
}

var oddConfigs = [][]byte{
	[]byte(`{"model_type": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 1.0}, "eos_token_id": [2, 3], "x": [NaN, -Infinity, "\"NaN"]}`),
	[]byte(`{"model_type": "mistral", "sliding_window": 512, "layer_types": ["sliding_attention"], "rope_parameters": {"rope_theta": 1e6}, "dtype": "bfloat16"}`),
	[]byte(`{"model_type": "gpt2", "hidden_size": 64, "n_inner": null, "pruned_heads": {}, "tie_word_embeddings": true}`),
}

func TestSpec6HostileConfigs(t *testing.T) { hostileConfig.Test(t) }

// FuzzHuggingFaceConfig reads mutated config.json files of models.
func FuzzHuggingFaceConfig(f *testing.F) { hostileConfig.Fuzz(f) }
