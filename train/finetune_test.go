package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/hftest"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// tuningRun is a run of two steps from a Hugging Face folder, as the command line
// would put it together, on windows that are shorter than the model's.
func tuningRun(t *testing.T, from string, assignments ...string) Config {
	t.Helper()
	var tokens []byte
	for i := range 400 {
		tokens = binary.LittleEndian.AppendUint16(tokens, uint16(i*i%50))
	}
	data := filepath.Join(t.TempDir(), "tokens.bin")
	if err := os.WriteFile(data, tokens, 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := Configure("", "", append([]string{"from=" + from, "data=" + data, "ckpt_dir=" + t.TempDir(),
		"context_len=8", "batch_size=2", "total_steps=2", "eval_windows=2"}, assignments...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readConfigJSON reads a config.json as what Python sees in it.
func readConfigJSON(t *testing.T, dir string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal(data, &fields)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// A model that was fine-tuned with a learning rate of 0 is exported as what it was:
// every field of config.json, every value, every file of the tokenizer.
func TestFineTunedModelIsExportedLikeItsSource(t *testing.T) {
	dev := vktest.Open(t)
	type config = map[string]any
	for name, c := range map[string]struct {
		from    string
		changes config
	}{
		"gpt2":                {"hf/testdata/gpt2", config{"eos_token_id": []int{2, 3}, "pad_token_id": 0, "a_field_of_next_year": config{"x": []any{1, "<&>", nil}}}},
		"gpt2 without a type": {"hf/testdata/gpt2", config{"torch_dtype": "absent", "tie_word_embeddings": "absent", "n_ctx": 16}},
		"llama":               {"hf/testdata/llama", config{"rope_scaling": config{"type": "linear", "factor": 1.0}, "eos_token_id": []int{49, 7}}},
		"llama of version 5": {"hf/testdata/llama", config{"torch_dtype": "absent", "dtype": "bfloat16", "rope_theta": "absent", "head_dim": 16,
			"rope_scaling": "absent", "rope_parameters": config{"rope_type": "default", "rope_theta": 5000.0}, "layer_types": []string{"full_attention", "full_attention"}}},
		"mistral": {"hf/testdata/llama", config{"model_type": "mistral", "architectures": []string{"MistralForCausalLM"}, "sliding_window": 12}},
		"mistral with heads of a size of their own": {"hf/testdata/mistral", nil},
	} {
		for _, mixed := range []string{"mixed_precision=true", "mixed_precision=false"} {
			t.Run(name+" "+mixed, func(t *testing.T) {
				from := hftest.Copy(t, c.from, c.changes)
				beside := map[string]string{"generation_config.json": "{\"top_p\": 0.9}", "special_tokens_map.json": "{}", "tokenizer_config.json": "{\"a\": 1}"}
				for name, text := range beside {
					if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o666); err != nil {
						t.Fatal(err)
					}
				}
				tokenizer, err := os.ReadFile("tokenizer/testdata/tokenizer-digits.json")
				if err == nil {
					err = os.WriteFile(filepath.Join(from, "tokenizer.json"), tokenizer, 0o666)
				}
				if err != nil {
					t.Fatal(err)
				}
				beside["tokenizer.json"] = string(tokenizer)

				run := tuningRun(t, from, "lr_max=0", "lr_min=0", mixed)
				trainRunOn(t, dev, run)
				out := filepath.Join(t.TempDir(), "out")
				if err := ExportCheckpoint(t.Context(), run.Dir(), out); err != nil {
					t.Fatal(err)
				}
				sameFolder(t, out, from, beside)
			})
		}
	}
}

// sameFolder compares a Hugging Face folder with another.
func sameFolder(t *testing.T, got, want string, beside map[string]string) {
	t.Helper()
	g, w := readConfigJSON(t, got), readConfigJSON(t, want)
	for key := range w {
		if !reflect.DeepEqual(g[key], w[key]) {
			t.Errorf("%s is %v, want %v", key, g[key], w[key])
		}
	}
	if len(g) != len(w) {
		t.Errorf("fields %v, want %v", slices.Sorted(maps.Keys(g)), slices.Sorted(maps.Keys(w)))
	}
	a, b := tensorsIn(t, got), tensorsIn(t, want)
	for name, was := range b {
		if is := a[name]; is != was {
			t.Errorf("%q is not what it was (%s, was %s)", name, is.dtype, was.dtype)
		}
	}
	for name, text := range beside {
		if data, err := os.ReadFile(filepath.Join(got, name)); err != nil || string(data) != text {
			t.Errorf("%s is %.40q, %v", name, data, err)
		}
	}
}

// Training on shorter windows leaves the positions after them as they are, and the
// model made for its own length; the type of values is the folder's, not the run's.
func TestFineTuningKeepsTheContext(t *testing.T) {
	const dir = "hf/testdata/gpt2"
	run := tuningRun(t, dir, "lr_max=1e-2", "warmup_iters=0")
	if run.ContextLen != 8 || run.Context != 16 || run.Transformer().Context != 16 || run.NoDecay != finetune().NoDecay {
		t.Fatalf("configuration is %+v", run)
	}
	dev := vktest.Open(t)
	trainRunOn(t, dev, run)
	out := t.TempDir()
	if err := ExportCheckpoint(t.Context(), run.Dir(), out); err != nil {
		t.Fatal(err)
	}
	if got := readConfigJSON(t, out); got["n_positions"] != 16.0 || got["bos_token_id"] != 50256.0 || got["torch_dtype"] != "float32" {
		t.Errorf("config.json is %v", got)
	}
	positions := func(dir string) []float32 {
		return dtype.Floats("F32", []byte(tensorsIn(t, dir)["transformer.wpe.weight"].values))
	}
	before, after := positions(dir), positions(out)
	if slices.Equal(after[:8*32], before[:8*32]) {
		t.Error("positions of the windows were not trained")
	}
	if !slices.Equal(after[8*32:], before[8*32:]) {
		t.Error("positions after the windows have changed")
	}
	// What is exported can be trained on the long windows, and a run can go on from a run.
	again := tuningRun(t, run.Dir(), "context_len=16", "lr_max=0", "lr_min=0")
	if again.Context != 0 || again.Transformer().Context != 16 {
		t.Errorf("from the run: %+v", again)
	}
	trainRunOn(t, dev, again)
	third := t.TempDir()
	if err := ExportCheckpoint(t.Context(), again.Dir(), third); err != nil {
		t.Fatal(err)
	}
	sameFolder(t, third, out, nil)
}

// Who asks for another context gets it, where the model can have it.
func TestFineTuningWithAnotherContext(t *testing.T) {
	run := tuningRun(t, "hf/testdata/llama", "context_len=32", "max_context=64", "lr_max=0", "lr_min=0")
	trainRun(t, run)
	out := t.TempDir()
	if err := ExportCheckpoint(t.Context(), run.Dir(), out); err != nil {
		t.Fatal(err)
	}
	if got := readConfigJSON(t, out); got["max_position_embeddings"] != 64.0 || got["eos_token_id"] != 2.0 || got["torch_dtype"] != "bfloat16" {
		t.Errorf("config.json is %v", got)
	}
	_, err := Configure("", "", []string{"from=hf/testdata/llama", "context_len=17"})
	if err != nil { // 16 is what the model has
		t.Error(err)
	}
	_, err = Configure("", "", []string{"from=hf/testdata/llama", "context_len=17", "max_context=16"})
	check.Error(t, err, "context_len is 17, more than max_context, which is 16")
}

// A source with a value that is not finite is refused by tensor and index.
func TestNonFiniteSourcesAreRefused(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
		dir := hftest.Copy(t, "hf/testdata/gpt2", nil)
		hftest.Rewrite(t, dir, func(entries []safetensors.Entry) []safetensors.Entry {
			i := slices.IndexFunc(entries, func(e safetensors.Entry) bool { return e.Name == "transformer.h.1.mlp.c_fc.weight" })
			write := entries[i].Write
			entries[i].Write = func(w io.Writer) error {
				var b bytes.Buffer
				if err := write(&b); err != nil {
					return err
				}
				binary.LittleEndian.PutUint32(b.Bytes()[4*(3*36+17):], math.Float32bits(float32(bad)))
				_, err := b.WriteTo(w)
				return err
			}
			return entries
		})
		_, _, err := OpenModel(ctx, dev, dir, ops.F32)
		check.Error(t, err, dir, `tensor "transformer.h.1.mlp.c_fc.weight": the value at [3 17] is `+strings.TrimPrefix(jsonNumber(bad), "+"))
	}
}

func jsonNumber(x float64) string {
	if math.IsNaN(x) {
		return "NaN"
	}
	return "-Inf"
}

// What a run is warned of is in its log: gradients that become zero, and a schedule
// that goes on otherwise.
func TestRunLogsWarnings(t *testing.T) {
	dev := vktest.Open(t)
	c := tuningRun(t, "hf/testdata/gpt2", "grad_clip_norm=0", "weight_decay=0", "mixed_precision=false")
	run := func(c Config) (text string, norm float64, values map[string][]float32) {
		m, data := modelAndData(t, dev, c)
		var log bytes.Buffer
		progress := func(r Record) {
			if r.GradNorm != nil {
				norm = *r.GradNorm
			}
		}
		if err := Run(context.Background(), dev, c, m, data, Hooks{Logger: slog.New(slog.NewTextHandler(&log, nil)), Progress: progress}); err != nil {
			t.Fatal(err)
		}
		return log.String(), norm, valuesOf(t, m.Params())
	}
	text, norm, still := run(c)
	if !strings.Contains(text, "WARN") || !strings.Contains(text, "every gradient becomes zero") || !(norm > 0) {
		t.Errorf("norm %v, the log is %s", norm, text)
	}
	c.GradClipNorm, c.TotalSteps = ClipNorm(math.Inf(1)), 4
	text, norm, moved := run(c)
	if !strings.Contains(text, "the learning rate goes on at") || strings.Contains(text, "becomes zero") || !(norm > 0) {
		t.Errorf("norm %v, the log of the longer run is %s", norm, text)
	}
	if slices.Equal(still["ln_final.weight"], moved["ln_final.weight"]) {
		t.Error("without clipping nothing was trained")
	}
}
