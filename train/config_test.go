package train

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// fieldCase says everything the tests know of one field.
type fieldCase struct {
	name      string
	standard  string // the default as JSON
	other     string // another legal value as JSON
	override  string // the same value as text of an override
	wrongType string // JSON of a type that the field does not have
	bad       []string
	free      bool // may differ when a run is resumed
}

// In the order of Config. Defaults of the reference notebook's fields are its own.
var fieldCases = []fieldCase{
	{"model", `"transformer"`, `"bigram"`, `bigram`, `1`, []string{`""`, `"Bigram"`, `"rnn"`}, false},
	{"custom", `{}`, `{"depth":3}`, `{ "depth": 3 }`, `1`, nil, false},
	{"vocab", `256`, `50257`, `50257`, `"256"`, []string{`0`, `-1`, `2147483648`}, false},
	{"layers", `4`, `12`, `12`, `"4"`, []string{`0`, `-1`}, false},
	{"heads", `16`, `8`, `8`, `1.5`, []string{`0`, `-16`, `3`, `512`}, false},
	{"kv_heads", `0`, `4`, `4`, `"0"`, []string{`-1`, `3`, `32`}, false},
	{"head_size", `0`, `64`, `64`, `"32"`, []string{`-4`, `6`, `260`, `2147483648`}, false},
	{"width", `512`, `768`, `768`, `[]`, []string{`0`, `-1`, `500`, `32`}, false},
	{"ffn", `1344`, `3072`, `3072`, `{}`, []string{`0`, `-1`, `2147483648`}, false},
	{"norm", `"rmsnorm"`, `"layernorm"`, `layernorm`, `0`, []string{`""`, `"batchnorm"`}, false},
	{"norm_eps", `1e-5`, `1e-6`, `1e-6`, `"x"`, []string{`0`, `-1e-5`}, false},
	{"activation", `"swiglu"`, `"gelu_tanh"`, `gelu_tanh`, `1`, []string{`""`, `"relu"`}, false},
	{"max_context", `0`, `2048`, `2048`, `"0"`, []string{`-1`, `255`, `2147483648`}, false},
	{"positions", `"rope"`, `"learned"`, `learned`, `1`, []string{`""`, `"alibi"`}, false},
	{"rope_theta", `1e4`, `1e5`, `100000`, `"1e4"`, []string{`0`, `-1`}, false},
	{"tied", `false`, `true`, `true`, `1`, nil, false},
	{"bias", `false`, `true`, `true`, `0`, nil, false},
	{"init", `"truncated_normal"`, `"gpt2"`, `gpt2`, `1`, []string{`""`, `"zeros"`}, false},
	{"dropout", `0`, `0.1`, `.1`, `"0"`, []string{`-0.1`, `1`}, true},
	{"recompute", `false`, `true`, `true`, `1`, nil, true},
	{"from", `""`, `"gpt2"`, `gpt2`, `1`, nil, true},
	{"data", `""`, `"a=b.npy"`, `a=b.npy`, `7`, nil, true},
	{"tokenizer", `""`, `"gpt2"`, `gpt2`, `1`, []string{`"GPT2"`, `"tokenizer.model"`}, true},
	{"token_width", `0`, `4`, `4`, `"2"`, []string{`1`, `3`, `8`}, true},
	{"new_data", `false`, `true`, `true`, `"yes"`, nil, true},
	{"val_fraction", `0.1`, `0.05`, `.05`, `"x"`, []string{`1`, `-0.1`}, false},
	{"seed", `1`, `18446744073709551615`, `18446744073709551615`, `-1`, nil, false},
	{"rank", `0`, `3`, `3`, `-1`, nil, true},
	{"batch_size", `32`, `64`, `64`, `1.5`, []string{`0`, `-32`, `2147483648`}, false},
	{"context_len", `256`, `1024`, `1024`, `true`, []string{`0`, `-1`, `2147483647`}, false},
	{"grad_accum", `1`, `4`, `4`, `[]`, []string{`0`, `-1`}, false},
	{"total_steps", `10000`, `20000`, `20000`, `1e4`, []string{`0`, `-1`, `9223372036854775807`}, true},
	{"log_every", `50`, `10`, `10`, `{}`, []string{`0`, `-1`}, true},
	{"eval_every", `500`, `100`, `100`, `""`, []string{`0`, `-1`}, true},
	{"eval_windows", `256`, `8`, `8`, `0.5`, []string{`0`, `-1`, `2147483648`}, true},
	{"ckpt_every", `1000`, `200`, `200`, `false`, []string{`0`, `-1`}, true},
	{"optimizer", `"adamw"`, `"muon"`, `muon`, `1`, []string{`""`, `"AdamW"`, `"adam"`}, false},
	{"adamw", `"document"`, `"torch"`, `torch`, `1`, []string{`""`, `"adam"`}, true},
	{"muon_lr", `0.02`, `0.01`, `1e-2`, `"0.02"`, []string{`-0.02`}, true},
	{"schedule", `"cosine"`, `"wsd"`, `wsd`, `1`, []string{`""`, `"Cosine"`, `"step"`}, true},
	{"lr_max", `3e-4`, `6e-4`, `6e-4`, `"3e-4"`, []string{`-3e-4`, `1e-5`}, true},
	{"lr_min", `3e-5`, `0`, `0`, `[3e-5]`, []string{`-1`, `1`}, true},
	{"betas", `[0.9,0.95]`, `[0.8,0.999]`, `0.8,0.999`, `[0.9]`, []string{`[1,0.95]`, `[0.9,1]`, `[-0.1,0.95]`, `[0.9,-1]`}, true},
	{"eps", `1e-8`, `1e-6`, `1e-6`, `true`, []string{`-1e-8`}, true},
	{"weight_decay", `0.1`, `0`, `0`, `"0"`, []string{`-0.1`}, true},
	{"no_decay", `"none"`, `"vectors"`, `vectors`, `0`, []string{`""`, `"embeddings"`}, true},
	{"grad_clip_norm", `1`, `"none"`, `none`, `"off"`, []string{`-1`}, true},
	{"warmup_iters", `200`, `0`, `0`, `0.5`, []string{`-1`, `10001`}, true},
	{"cosine_iters", `0`, `5000`, `5000`, `"x"`, []string{`-1`, `199`}, true},
	{"decay_iters", `0`, `1000`, `1000`, `"x"`, []string{`-1`, `9801`}, true},
	{"device", `"auto"`, `"NVIDIA H"`, `NVIDIA H`, `0`, []string{`""`, `" "`}, true},
	{"mixed_precision", `true`, `false`, `false`, `0`, nil, false},
	{"half_type", `"bf16"`, `"f16"`, `f16`, `16`, []string{`""`, `"fp16"`}, false},
	{"matmul_precision", `"highest"`, `"high"`, `high`, `3`, []string{`""`, `"tf32"`}, false},
	{"ckpt_dir", `"./checkpoints"`, `"runs"`, `runs`, `[]`, []string{`""`}, true},
	{"run_name", `"cs336_lm_run"`, `"second try"`, `second try`, `1`, []string{`""`, `"."`, `".."`, `"a/b"`, `"a\\b"`, `"a/"`, `"a\u0000b"`, `"a\nb"`, `"\u001b[31m"`}, true},
	{"keep", `3`, `1`, `1`, `1.5`, []string{`0`, `-1`}, true},
	{"tensorboard", `false`, `true`, `true`, `1`, nil, true},
}

func TestSpec7EveryFieldHasACase(t *testing.T) {
	var cases, names []string
	for _, c := range fieldCases {
		cases = append(cases, c.name)
	}
	for _, f := range fields {
		names = append(names, f.name)
		if f.usage == "" {
			t.Errorf("%s has no usage text", f.name)
		}
		if !slices.Contains([]string{"model", "same", "free"}, f.resume) {
			t.Errorf(`%s: resume is %q, want "model", "same" or "free"`, f.name, f.resume)
		}
	}
	if !slices.Equal(names, cases) {
		t.Errorf("fields %v, cases %v", names, cases)
	}
}

// setField gives a field a JSON value.
func setField(t *testing.T, c *Config, field, value string) {
	t.Helper()
	if err := json.Unmarshal([]byte(`{"`+field+`":`+value+`}`), c); err != nil {
		t.Fatalf("%s = %s: %v", field, value, err)
	}
}

func TestSpec7Defaults(t *testing.T) {
	var want Config
	for _, c := range fieldCases {
		setField(t, &want, c.name, c.standard)
	}
	got := DefaultConfig()
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func TestSpec7FieldsFromFileOverrideAndFlag(t *testing.T) {
	for _, c := range fieldCases {
		if c.other == "" { // one legal value only
			continue
		}
		want := DefaultConfig()
		setField(t, &want, c.name, c.other)
		if want == DefaultConfig() {
			t.Errorf("%s: %s is the default", c.name, c.other)
		}

		inFile := want
		switch c.name {
		case "total_steps": // twice the default, and so is the warm-up
			inFile.WarmupIters = 400
		case "from":
			inFile = finetune()
			setField(t, &inFile, c.name, c.other)
		}
		got, err := ReadConfig(configFile(t, fmt.Sprintf(`{%q: %s}`, c.name, c.other)))
		if err != nil || got != inFile {
			t.Errorf("file, %s = %s: got %+v, %v", c.name, c.other, got, err)
		}

		got = DefaultConfig()
		if err := got.Override(c.name + "=" + c.override); err != nil || got != want {
			t.Errorf("override, %s=%s: got %+v, %v", c.name, c.override, got, err)
		}

		fs := flag.NewFlagSet("", flag.ContinueOnError)
		overrides := ConfigFlags(fs, DefaultConfig())
		if err := fs.Parse([]string{"-" + c.name + "=" + c.override}); err != nil {
			t.Fatal(err)
		}
		got = DefaultConfig()
		for _, o := range *overrides {
			if err := got.Override(o); err != nil {
				t.Error(err)
			}
		}
		if got != want {
			t.Errorf("flag, -%s=%s: got %+v", c.name, c.override, got)
		}
	}
}

func TestSpec7WrongTypesNameTheField(t *testing.T) {
	for _, c := range fieldCases {
		for _, value := range []string{c.wrongType, "null"} {
			_, err := ReadConfig(configFile(t, fmt.Sprintf(`{%q: %s}`, c.name, value)))
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(": %s is %s, want", c.name, value)) {
				t.Errorf("%s = %s: %v", c.name, value, err)
			}
		}
	}
	for _, assignment := range []string{"batch_size=", "batch_size=1.5", "custom=", "custom={", "seed=-1", "lr_max=fast", "betas=0.9", "betas=[0.9,0.95", "betas=0.9,0.95]", "betas=0.9,0.95,1",
		"betas=", "mixed_precision=maybe", "total_steps=99999999999999999999"} {
		c := DefaultConfig()
		key, value, _ := strings.Cut(assignment, "=")
		err := c.Override(assignment)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is %q", key, value)) {
			t.Errorf("%s: %v", assignment, err)
		}
		if c != DefaultConfig() {
			t.Errorf("%s: changed the configuration to %+v", assignment, c)
		}
	}
}

func TestSpec7ImpossibleValuesNameTheField(t *testing.T) {
	for _, c := range fieldCases {
		for _, value := range c.bad {
			_, err := ReadConfig(configFile(t, fmt.Sprintf(`{%q: %s}`, c.name, value)))
			if err == nil || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s = %s: %v", c.name, value, err)
			}
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for name, set := range map[string]func(*Config){
			"norm_eps":       func(c *Config) { c.NormEps = v },
			"rope_theta":     func(c *Config) { c.RopeTheta = v },
			"dropout":        func(c *Config) { c.Dropout = v },
			"val_fraction":   func(c *Config) { c.ValFraction = v },
			"lr_max":         func(c *Config) { c.LRMax = v },
			"lr_min":         func(c *Config) { c.LRMin = v },
			"betas[0]":       func(c *Config) { c.Betas[0] = v },
			"betas[1]":       func(c *Config) { c.Betas[1] = v },
			"eps":            func(c *Config) { c.Eps = v },
			"muon_lr":        func(c *Config) { c.MuonLR = v },
			"weight_decay":   func(c *Config) { c.WeightDecay = v },
			"grad_clip_norm": func(c *Config) { c.GradClipNorm = ClipNorm(v) },
		} {
			if name == "grad_clip_norm" && v > 0 {
				continue // no clipping
			}
			bad := DefaultConfig()
			set(&bad)
			err := bad.Validate()
			if want := fmt.Sprintf("train: %s is %v,", name, v); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s = %v: %v", name, v, err)
			}
		}
	}
}

func TestSpec7Diff(t *testing.T) {
	c := DefaultConfig()
	if diff := c.Diff(c); len(diff) != 0 {
		t.Errorf("same configuration: %q", diff)
	}
	var count int
	all := c
	for _, f := range fieldCases {
		if f.other == "" {
			continue
		}
		other := c
		setField(t, &other, f.name, f.other)
		setField(t, &all, f.name, f.other)
		diff := c.Diff(other)
		switch {
		case f.free && len(diff) != 0:
			t.Errorf("%s may change: %q", f.name, diff)
		case !f.free && (len(diff) != 1 || !strings.HasPrefix(diff[0], f.name+" is ")):
			t.Errorf("%s must not change: %q", f.name, diff)
		case !f.free:
			count++
		}
	}
	if diff := c.Diff(all); len(diff) != count {
		t.Errorf("%d fields differ, Diff names %q", count, diff)
	}
	same := c // what the zeros of c stand for
	same.KVHeads, same.HeadSize, same.Context = 16, 32, 256
	if diff := slices.Concat(c.Diff(same), same.Diff(c)); len(diff) != 0 {
		t.Errorf("the same structure: %q", diff)
	}
	whole := c // of 16 bits nothing is left
	whole.MixedPrecision = false
	unused := whole
	unused.HalfType = "f16"
	if diff := whole.Diff(unused); len(diff) != 0 {
		t.Errorf("a 16-bit type that nothing is stored as: %q", diff)
	}
	other := c
	other.Vocab, other.Norm = 50257, "layernorm"
	want := []string{`vocab is 50257, want 256`, `norm is "layernorm", want "rmsnorm"`}
	if diff := c.Diff(other); !slices.Equal(diff, want) {
		t.Errorf("got %q, want %q", diff, want)
	}
}

func TestSpec7Flags(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	var usage strings.Builder
	fs.SetOutput(&usage)
	overrides := ConfigFlags(fs, DefaultConfig())
	args := []string{"-mixed_precision", "-betas", "0.5,0.75", "-seed", "3", "-seed", "4", "rest"}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if want := []string{"mixed_precision=true", "betas=0.5,0.75", "seed=3", "seed=4"}; !slices.Equal(*overrides, want) {
		t.Errorf("got %q, want %q", *overrides, want)
	}
	fs.PrintDefaults()
	for _, c := range fieldCases {
		value := strings.Trim(c.standard, `[]"`)
		if !strings.Contains(usage.String(), "-"+c.name) {
			t.Errorf("usage lacks -%s", c.name)
		}
		if def := fs.Lookup(c.name).DefValue; value != "" && !sameValue(def, value) {
			t.Errorf("-%s: usage shows the default %q, want %q", c.name, def, value)
		}
	}
	fs.SetOutput(io.Discard)
	if err := fs.Parse([]string{"-batch_size=many"}); err == nil || !strings.Contains(err.Error(), "batch_size") {
		t.Errorf("-batch_size=many: %v", err)
	}
}

// sameValue takes 3e-4 and 0.0003 for the same.
func sameValue(a, b string) bool {
	var x, y float64
	if json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil {
		return x == y
	}
	return a == b
}

func TestSpec7Schedule(t *testing.T) {
	c := DefaultConfig()
	c.TotalSteps = 20000 // with cosine_iters set, the schedule does not follow
	c.CosineIters = 10000
	s := c.schedule()
	for step, want := range map[int64]float64{0: 0, 100: 1.5e-4, 200: 3e-4, 10000: 3e-5, 20000: 3e-5} {
		if got := s.At(step); math.Abs(got-want) > 1e-18 {
			t.Errorf("step %d: got %v, want %v", step, got, want)
		}
	}
}
