package train

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// What would make another model of the one to start from is refused at once, by the
// name of the field, wherever it is set; what says the same, or training alone, is not.
func TestFromDecidesTheStructure(t *testing.T) {
	const llama, gpt2 = "hf/testdata/llama", "hf/testdata/gpt2"
	for _, c := range []struct{ from, assignment, asked, has string }{
		{llama, "norm=layernorm", `"layernorm"`, `"rmsnorm"`},
		{llama, "positions=rope", `"rope"`, `"rope_half"`},
		{llama, "rope_theta=20000", "20000", "5000"},
		{llama, "norm_eps=0.1", "0.1", "1e-05"},
		{llama, "width=64", "64", "32"},
		{llama, "heads=6", "6", "2"},
		{llama, "kv_heads=3", "3", "1"},
		{llama, "kv_heads=0", "2", "1"},
		{gpt2, "kv_heads=16", "16", "2"},
		{llama, "layers=1", "1", "2"},
		{llama, "ffn=4", "4", "44"},
		{llama, "vocab=256", "256", "50"},
		{llama, "bias=true", "true", "false"},
		{llama, "tied=true", "true", "false"},
		{llama, "activation=gelu", `"gelu"`, `"swiglu"`},
		{llama, "model=bigram", `"bigram"`, `"transformer"`},
		{gpt2, "bias=false", "false", "true"},
		{gpt2, "positions=rope", `"rope"`, `"learned"`},
	} {
		_, err := Configure("", "", []string{"from=" + c.from, c.assignment})
		key, value := splitAssignment(c.assignment)
		check.Error(t, err, "train: "+key+" is "+c.asked+", but the model to start from, "+c.from+", has "+c.has)
		_, err = Configure("", configFile(t, `{"from": "`+c.from+`", "`+key+`": `+value+`}`), nil)
		check.Error(t, err, "train: "+key+" is "+c.asked+", but the model to start from")
	}
	for _, c := range []struct{ from, assignment string }{
		{llama, "norm=rmsnorm"}, {llama, "width=32"}, {llama, "max_context=4096"}, {llama, "context_len=4096"}, {llama, "dropout=0.1"},
		{gpt2, "rope_theta=7"}, {gpt2, "kv_heads=0"}, {gpt2, "kv_heads=2"}, {gpt2, "context_len=16"}, {gpt2, "max_context=16"},
	} {
		if _, err := Configure("", "", []string{"from=" + c.from, c.assignment}); err != nil {
			t.Errorf("%s: %v", c.assignment, err)
		}
	}
	for assignment, want := range map[string]string{"context_len=17": "context_len is 17, but", "max_context=17": "max_context is 17, but"} {
		_, err := Configure("", "", []string{"from=" + gpt2, assignment})
		check.Error(t, err, want, gpt2, "learned 16 positions")
	}
	if _, err := Configure("tiny", "", []string{"from=" + llama}); err != nil {
		t.Errorf("a preset sets training alone: %v", err)
	}
}

// splitAssignment returns the key, and the value as JSON has it.
func splitAssignment(text string) (key, value string) {
	key, value, _ = strings.Cut(text, "=")
	if !json.Valid([]byte(value)) {
		value = `"` + value + `"`
	}
	return key, value
}
