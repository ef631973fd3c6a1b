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
	const llama, gpt2, mistral = "hf/testdata/llama", "hf/testdata/gpt2", "hf/testdata/mistral"
	for _, c := range []struct{ from, assignment, asked, has string }{
		{llama, "norm=layernorm", `"layernorm"`, `"rmsnorm"`},
		{llama, "positions=rope", `"rope"`, `"rope_half"`},
		{llama, "rope_theta=20000", "20000", "5000"},
		{llama, "norm_eps=0.1", "0.1", "1e-05"},
		{llama, "width=64", "64", "32"},
		{llama, "heads=6", "6", "2"},
		{llama, "kv_heads=3", "3", "1"},
		{llama, "kv_heads=0", "2", "1"},
		{llama, "head_size=32", "32", "16"},
		{mistral, "head_size=0", "7", "12"},
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
		{gpt2, "rope_theta=7"}, {gpt2, "kv_heads=0"}, {gpt2, "kv_heads=2"}, {gpt2, "head_size=16"}, {mistral, "head_size=12"}, {gpt2, "context_len=16"}, {gpt2, "max_context=16"},
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

// Heads that can't be are refused with one message, wherever they come from; a size of
// their own lets the width be any.
func TestImpossibleHeads(t *testing.T) {
	for assignment, want := range map[string]string{
		"head_size=6":          "train: head_size is 6, want a multiple of 4 of at most 256",
		"head_size=260":        "train: head_size is 260, want a multiple of 4 of at most 256",
		"head_size=-4":         "train: head_size is -4, want 0 to 2147483647",
		"head_size=134217728":  "train: head_size is 134217728, want a multiple of 4 of at most 256",
		"width=500":            "train: width is 500, want a multiple of heads, which is 16, or set head_size",
		"width=480":            "train: width is 480 and heads 16: head_size is 30, want a multiple of 4 of at most 256",
		"kv_heads=3":           "train: kv_heads is 3, want 0 or a divisor of heads, which is 16",
		"max_context=-1":       "train: max_context is -1, want 1 to 2147483647",
		"norm_eps=1e-60":       "train: norm_eps is 1e-60, want a positive number that 32 bits hold",
		"activation=geglu":     `train: activation is "geglu", want swiglu or silu or gelu or gelu_tanh`,
		"model=bigram":         "",
		"head_size=4":          "",
		"head_size=32":         "",
		"max_context=10000000": "",
	} {
		inFile := DefaultConfig()
		if err := inFile.Override(assignment); err != nil {
			t.Fatal(err)
		}
		key, value := splitAssignment(assignment)
		_, fromFile := ReadConfig(configFile(t, `{"`+key+`": `+value+`}`))
		_, fromFlag := Configure("", configFile(t, `{}`), []string{assignment})
		for _, err := range []error{fromFile, fromFlag, inFile.Validate()} {
			if want != "" {
				check.Error(t, err, want)
			} else if err != nil {
				t.Errorf("%s: %v", assignment, err)
			}
		}
	}
	c := DefaultConfig()
	c.HeadSize, c.Width = 12, 30
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Model, c.HeadSize = "bigram", 0 // which has no heads
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
