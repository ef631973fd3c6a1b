package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/train/data"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/hftest"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/vk"
)

// transformerRun is a configuration of a run of two steps.
func transformerRun(t *testing.T, name string) Config {
	t.Helper()
	c := DefaultConfig()
	c.SetTransformer(smallTransformer())
	c.CkptDir, c.RunName, c.Data = t.TempDir(), name, "hf/testdata/make_huggingface.py"
	c.BatchSize, c.TotalSteps, c.WarmupIters, c.CosineIters, c.CkptEvery, c.EvalWindows = 2, 2, 0, 2, 2, 2
	c.LRMax, c.LRMin, c.MixedPrecision = 1e-2, 1e-3, false
	return c
}

// modelAndData opens what a run of c needs.
func modelAndData(t *testing.T, dev *vk.Device, c Config) (Model, data.Corpus) {
	t.Helper()
	data, err := OpenData(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { data.Close() })
	m, err := NewModel(dev, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Params().Release)
	return m, data
}

// trainRun runs it and returns the parameters at its end.
func trainRun(t *testing.T, c Config) map[string][]float32 {
	t.Helper()
	return trainRunOn(t, vktest.Open(t), c)
}

// trainRunOn is trainRun on a device, whose kernels are compiled once for all runs.
func trainRunOn(t *testing.T, dev *vk.Device, c Config) map[string][]float32 {
	t.Helper()
	m, data := modelAndData(t, dev, c)
	if err := Run(context.Background(), dev, c, m, data, Hooks{}); err != nil {
		t.Fatal(err)
	}
	return valuesOf(t, m.Params())
}

func valuesOf(t *testing.T, params *ops.Params) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for _, p := range params.All() {
		v := make([]float32, p.Len())
		if err := ops.Download(context.Background(), p, v); err != nil {
			t.Fatal(err)
		}
		all[p.Name()] = v
	}
	return all
}

func sameValues(t *testing.T, got, want map[string][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d parameters, want %d", len(got), len(want))
	}
	for name, v := range want {
		if !slices.Equal(got[name], v) {
			t.Errorf("%q differs", name)
		}
	}
}

// A run's checkpoint is opened, exported, and where another run starts.
func TestModelOfARun(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	c := transformerRun(t, "first")
	c.Tokenizer, c.Vocab = "tokenizer/testdata/tokenizer-digits.json", 512
	want := trainRunOn(t, dev, c)
	m, cfg, err := OpenModel(ctx, dev, c.Dir(), ops.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Params().Release()
	if cfg != c {
		t.Errorf("configuration is\n%+v, want\n%+v", cfg, c)
	}
	sameValues(t, valuesOf(t, m.Params()), want)

	out := filepath.Join(t.TempDir(), "exported")
	if err := ExportCheckpoint(t.Context(), checkpointPath(c.Dir(), 2), out); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	never := filepath.Join(t.TempDir(), "never")
	if err := ExportCheckpoint(ended, c.Dir(), never); !errors.Is(err, context.Canceled) {
		t.Errorf("an export that is ended: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(never)); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	check.Error(t, ExportCheckpoint(t.Context(), out, filepath.Join(t.TempDir(), "again")), "a Hugging Face folder already")
	exported, cfg, err := OpenModel(ctx, dev, out, ops.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer exported.Params().Release()
	if cfg.Positions != "rope_half" || cfg.Width != c.Width || cfg.Tokenizer != filepath.Join(out, "tokenizer.json") {
		t.Errorf("the exported model is %+v", cfg)
	}
	ids := []int32{70, 0, 255, 3, 3, 9}
	if diff := opstest.RelL2(hftest.Logits(t, exported, ids), hftest.Logits(t, m, ids)); !(diff <= 2e-6) {
		t.Errorf("the exported model's logits differ by %.2g", diff)
	}

	// The learning rate is 0: what the second run starts with is what it ends with.
	second := transformerRun(t, "second")
	second.Layers, second.Dropout, second.ContextLen = 7, 0.25, 12
	if err := second.ConfigureFrom(c.Dir()); err != nil {
		t.Fatal(err)
	}
	if second.Layers != c.Layers || second.Dropout != 0.25 || second.ContextLen != 12 || second.Tokenizer != filepath.Join(c.Dir(), "tokenizer.json") {
		t.Errorf("the configuration from a run is %+v", second)
	}
	second.From, second.Dropout, second.LRMax, second.LRMin, second.Seed = c.Dir(), 0, 0, 0, 9
	sameValues(t, trainRunOn(t, dev, second), want)
}

// With 16-bit parameters the master weights are those of the folder.
func TestStartFromHuggingFace(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	const dir = "hf/testdata/gpt2"
	c := transformerRun(t, "tuned")
	c.ContextLen, c.MixedPrecision = 10, true
	if err := c.ConfigureFrom(dir); err != nil {
		t.Fatal(err)
	}
	if c.Vocab != 50 || c.ContextLen != 10 || c.Positions != "learned" || c.Tokenizer != "" {
		t.Errorf("the configuration from a folder is %+v", c)
	}
	m, err := NewModel(dev, c)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Params().Release()
	tr, err := NewTrainer(dev, c, m, data.NewTokens(make([]uint16, 100)))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.StartFrom(ctx, dir); err != nil {
		t.Fatal(err)
	}
	h, err := hf.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	exact, err := nn.NewTransformer(dev, ops.F32, c.Transformer(), 1) // with the folder's values
	if err != nil {
		t.Fatal(err)
	}
	defer exact.Params().Release()
	if err := h.Load(ctx, exact.Params(), nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range valuesOf(t, exact.Params()) {
		master := tr.opt.Master(m.Params().ByName(name))
		got := make([]float32, master.Len())
		if err := ops.Download(ctx, master, got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the master of %q differs", name)
		}
	}
	check.Error(t, tr.StartFrom(ctx, "hf/testdata/llama"), "hf/testdata/llama")
	check.Error(t, tr.StartFrom(ctx, t.TempDir()), "neither a checkpoint nor a Hugging Face model")
}

func TestOpenModelErrors(t *testing.T) {
	ctx, dev := context.Background(), vktest.Open(t)
	c := transformerRun(t, "run")
	tensors := func(c Config) []safetensors.Entry {
		return []safetensors.Entry{
			safetensors.Values("token_embeddings.weight", "F32", []int{c.Vocab, c.Width}, make([]byte, 4*c.Vocab*c.Width)),
			safetensors.Values("layers.0.attn.q_proj.weight", "F32", []int{c.Width, c.Width}, make([]byte, 4*c.Width*c.Width)),
			safetensors.Values("layers.0.ffn.w1.weight", "F32", []int{c.FFN, c.Width}, make([]byte, 4*c.FFN*c.Width)),
		}
	}
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) {}, `tensor "layers.0.ln1.weight" is []`},
		{func(c *Config) { c.Model = "bigram" }, `model is "bigram", want transformer`},
		{func(c *Config) { c.Layers = 4 }, "4 layers, but only 3 tensors"},
		{func(c *Config) { c.Vocab = 1 << 30 }, `tensor "token_embeddings.weight" is [256 32], want [1073741824 32]`},
		{func(c *Config) { c.HeadSize = 32 }, `tensor "layers.0.attn.q_proj.weight" is [32 32], want [64 32]`},
		{func(c *Config) { c.HeadSize = -4 }, "head_size is -4"},
		{func(c *Config) { c.FFN = 1 << 30 }, `tensor "layers.0.ffn.w1.weight"`},
		{func(c *Config) { c.Positions = "learned" }, `tensor "position_embeddings.weight" is [], want [16 32]`},
		{func(c *Config) { c.Heads = 0 }, "heads is 0"},
	} {
		bad := c
		test.change(&bad)
		data, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "x.safetensors")
		meta := map[string]string{"format": checkpointFormat, "iteration": "0", "optimizer": `{"Steps":{},"Scale":1,"Good":0,"Skips":0}`, "config": string(data)}
		if err := safetensors.Save(path, meta, tensors(c)); err != nil {
			t.Fatal(err)
		}
		_, _, err = OpenModel(ctx, dev, path, ops.F32)
		check.Error(t, err, test.want, path)
		meta["format"] = "x"
		if err := safetensors.Save(path, meta, tensors(c)); err != nil {
			t.Fatal(err)
		}
		_, _, err = OpenModel(ctx, dev, path, ops.F32)
		check.Error(t, err, `format is "x"`, path)
	}
	empty := t.TempDir()
	other := func(name string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for path, want := range map[string]string{
		other("adapter_config.json"):                  "but an adapter",
		other("model.safetensors.index.json"):         "but a model without its config.json",
		other("pytorch_model.bin"):                    "not as safetensors",
		other("small.Q4_K_M.gguf"):                    "but a GGUF file",
		"hf/testdata/gpt2/model.safetensors":          "name its folder, hf/testdata/gpt2",
		"hf/testdata/llama/config.json":               "name its folder, hf/testdata/llama",
		"torch/testdata/torch.json":                   "not a safetensors file, but a text in JSON",
		"torch/testdata/torch_adamw.pt":               "a zip archive, of torch.save perhaps",
		filepath.Join(empty, "openai-community/gpt2"): "has to be downloaded first",
		empty: "neither a checkpoint nor", filepath.Join(empty, "none"): "none", "hf/testdata/make_huggingface.py": "not a safetensors"} {
		_, _, err := OpenModel(ctx, dev, path, ops.F32)
		check.Error(t, err, want, path)
	}
	if names, err := os.ReadDir(empty); err != nil || len(names) > 0 {
		t.Error(fmt.Sprint(names, err))
	}
}
