package train_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/torch"
	"github.com/lemnos-ml/lemnos/vk"
)

// named is a custom model that says what it is.
type named struct {
	*sparing
	name      string
	structure any
}

func (n named) Description() (string, any) { return n.name, n.structure }

// written is config.json as a run left it.
func written(t testing.TB, c train.Config) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir(), "config.json"))
	must(t, err)
	var fields map[string]any
	must(t, json.Unmarshal(data, &fields))
	return fields
}

// What a run leaves says what was trained, whatever the configuration was meant
// for: a model of one's own on data of one's own, or one of another structure.
func TestConfigurationSaysWhatIsTrained(t *testing.T) {
	dev := vktest.Open(t)
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(i * 7 % 8)
	}
	data := data.Corpus{Train: data.NewTokens(text), Val: data.NewTokens(text[:50])}
	own := func(dt ops.DType) *sparing {
		m := &sparing{params: ops.NewParams(dev, dt)}
		m.table = m.params.Add("table", 8, 8)
		must(t, m.params.Alloc())
		t.Cleanup(m.params.Release)
		return m
	}
	decoder, err := nn.NewTransformer(dev, ops.F32, nn.TransformerConfig{Vocab: 8, Context: 16, Layers: 1, Heads: 2, Width: 16, FFN: 24,
		Norm: "layernorm", NormEps: 1e-5, Activation: "gelu", Positions: "learned", Tied: true, Init: "gpt2"}, 1)
	must(t, err)
	defer decoder.Params().Release()
	for _, c := range []struct {
		model train.Model
		want  map[string]any // of config.json
	}{
		{own(ops.BF16), map[string]any{"model": "*train_test.sparing", "mixed_precision": true, "half_type": "bf16", "layers": nil, "width": nil, "tied": nil, "dropout": nil}},
		{named{own(ops.F32), "a table that spares one token", map[string]int{"spared": 3}}, map[string]any{"model": "a table that spares one token", "mixed_precision": false, "layers": nil, "vocab": 8.0, "custom": map[string]any{"spared": 3.0}}},
		{named{own(ops.F32), "", nil}, map[string]any{"model": "train_test.named", "custom": nil}},
		{decoder, map[string]any{"model": "transformer", "mixed_precision": false, "layers": 1.0, "width": 16.0, "norm": "layernorm", "tied": true, "context_len": 8.0, "max_context": 16.0}},
	} {
		cfg := train.DefaultConfig() // of a transformer of 4 layers
		cfg.CkptDir, cfg.RunName, cfg.Vocab, cfg.ContextLen, cfg.BatchSize = t.TempDir(), "own", 8, 8, 2
		cfg.TotalSteps, cfg.WarmupIters, cfg.CosineIters, cfg.CkptEvery = 2, 1, 2, 2
		must(t, train.Run(ctx, dev, cfg, c.model, data, train.Hooks{}))
		fields := written(t, cfg)
		c.want["data"] = "(the program's own)"
		for name, want := range c.want {
			if got, there := fields[name]; !reflect.DeepEqual(got, want) || there != (want != nil) {
				t.Errorf("%T: config.json has %s %v, want %v", c.model, name, got, want)
			}
		}
		cfg.TotalSteps = 3 // the same model resumes
		must(t, train.Run(ctx, dev, cfg, c.model, data, train.Hooks{}))
		path, step, err := train.Latest(cfg.Dir())
		if err != nil || step != 3 {
			t.Errorf("%T: checkpoint of step %d (%v), want 3", c.model, step, err)
		}
		_, opened, err := train.OpenModel(ctx, dev, path, ops.F32)
		if c.model == train.Model(decoder) {
			must(t, err)
			if opened.Layers != 1 || opened.Transformer().Context != 16 {
				t.Errorf("opened as %+v", opened.Transformer())
			}
		} else {
			mustFail(t, err, c.want["model"].(string))
		}
	}
	must(t, data.Close())
}

// Data and models that a run can't use are errors.
func TestRunRefusesHalfOfWhatItNeeds(t *testing.T) {
	dev := vktest.Open(t)
	tokens, high := data.NewTokens(make([]uint16, 400)), data.NewTokens([]uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	m, err := nn.NewBigram(dev, ops.F32, 8)
	must(t, err)
	defer m.Params().Release()
	empty := &sparing{params: ops.NewParams(dev, ops.F32)}
	cfg := train.DefaultConfig()
	cfg.CkptDir, cfg.Vocab, cfg.ContextLen, cfg.BatchSize = t.TempDir(), 8, 8, 2
	for _, c := range []struct {
		model train.Model
		data  data.Corpus
		want  string
	}{
		{m, data.Corpus{}, "no tokens to train on"},
		{m, data.Corpus{Train: tokens}, "none to evaluate on"},
		{m, data.Corpus{Train: tokens, Val: high}, "token 8 at position 7"},
		{nil, data.Corpus{Train: tokens, Val: tokens}, "the model is nil"},
		{empty, data.Corpus{Train: tokens, Val: tokens}, "call Alloc first"},
	} {
		mustFail(t, train.Run(ctx, dev, cfg, c.model, c.data, train.Hooks{}), c.want)
	}
	_, err = train.NewTrainer(dev, cfg, m, nil)
	mustFail(t, err, "no tokens to train on")
	_, err = train.NewEvaluator(dev, cfg, m, nil)
	mustFail(t, err, "no tokens to evaluate on")
	_, err = train.NewEvaluator(dev, cfg, nil, tokens)
	mustFail(t, err, "the model is nil")
	cfg.Model = "mine"
	mustFail(t, train.Run(ctx, dev, cfg, m, data.Corpus{Train: tokens, Val: tokens}, train.Hooks{}), "for a model of your own leave it")
	if names, err := os.ReadDir(cfg.CkptDir); err != nil || len(names) != 0 {
		t.Errorf("%v (%v) in the folder, want nothing", names, err)
	}
}

// Close and Release of zero values, of nil and a second time do nothing.
func TestCloseOfZeroValues(t *testing.T) {
	var failed []string
	for name, close := range map[string]func(){
		"Device": func() { new(vk.Device).Close() }, "Buffer": func() { new(vk.Buffer).Release() }, "Program": func() { new(vk.Program).Release() },
		"Tensor": func() { new(ops.Tensor).Release() }, "Params": func() { new(ops.Params).Release() }, "Graph": func() { new(ops.Graph).Release() },
		"Step": func() { new(ops.Step).Close() }, "Decoder": func() { new(nn.Decoder).Close() }, "Window": func() { new(nn.Window).Close() }, "Optimizer": func() { new(optim.Optimizer).Release() },
		"Data": func() { data.Corpus{}.Close() }, "Trainer": func() { new(train.Trainer).Close() }, "Evaluator": func() { new(train.Evaluator).Close() },
		"Tokens": func() { new(data.Tokens).Close() }, "File": func() { new(safetensors.File).Close() },
		"HuggingFace": func() { new(hf.Folder).Close() }, "TorchCheckpoint": func() { new(torch.Checkpoint).Close() },
		"Prefetcher": func() { new(data.Prefetcher).Close() },
	} {
		func() {
			defer func() {
				if r := recover(); r != nil {
					failed = append(failed, name)
				}
			}()
			close()
			close()
		}()
	}
	slices.Sort(failed)
	if len(failed) > 0 {
		t.Errorf("these crash: %s", strings.Join(failed, ", "))
	}
}
