package train_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// tableStructure is that of a custom model.
type tableStructure struct {
	Tokens int     `json:"tokens"`
	Scale  float64 `json:"scale"` // changes no shape
}

// reserveTable makes a custom model without values.
func reserveTable(dev *vk.Device, dt ops.DType, name string, s tableStructure) (named, error) {
	m := &sparing{params: ops.NewParams(dev, dt)}
	m.table = m.params.Add("table", s.Tokens, s.Tokens)
	return named{m, name, s}, m.params.Reserve()
}

// A checkpoint of a custom model has its structure: another one is refused, and the
// model is made of it and read again, in another storage type too.
func TestCustomModel(t *testing.T) {
	dev := vktest.Open(t)
	cfg := smallRun(t, t.TempDir())
	cfg.Vocab, cfg.ContextLen, cfg.BatchSize, cfg.TotalSteps = 8, 8, 2, 2
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(i * 7 % 8)
	}
	corpus := data.Corpus{Train: data.NewTokens(text), Val: data.NewTokens(text[:50])}
	structure := tableStructure{8, 0.5}
	m, err := reserveTable(dev, ops.BF16, "table", structure)
	must(t, err)
	defer m.params.Release()
	mustFail(t, train.Run(ctx, dev, cfg, m, corpus, train.Hooks{}), `parameter "table" was reserved and has no value: set Hooks.Start`)
	start := train.Hooks{Start: func(ctx context.Context) error { return nn.Initialize(ctx, m.params, 1, nn.Xavier) }}
	must(t, train.Run(ctx, dev, cfg, m, corpus, start))

	for want, other := range map[string]named{
		`configuration: model is "table", want "desk"; custom is`:         {m.sparing, "desk", tableStructure{8, 2}},
		`custom is {"tokens":8,"scale":0.5}, want {"tokens":8,"scale":2}`: {m.sparing, "table", tableStructure{8, 2}},
		`custom is {"tokens":8,"scale":0.5}, want {}`:                     {m.sparing, "table", nil},
		`model is "table", want "desk"`:                                   {m.sparing, "desk", structure},
		`"bigram", which is one of this library's`:                        {m.sparing, "bigram", structure},
		"structure of model table: json: unsupported":                     {m.sparing, "table", func() {}},
		"structure of model table: train: custom is [1,2], want":          {m.sparing, "table", []int{1, 2}},
	} {
		mustFail(t, train.Run(ctx, dev, cfg, other, corpus, train.Hooks{}), want)
	}

	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		opened, c, err := train.OpenCustom(ctx, cfg.Dir(), func(c train.Config, s tableStructure) (named, error) { return reserveTable(dev, dt, "table", s) })
		must(t, err)
		if opened.structure != any(structure) || c.Vocab != 8 || c.Custom != `{"tokens":8,"scale":0.5}` {
			t.Errorf("opened %+v of %+v", opened.structure, c)
		}
		if dt == ops.BF16 && !slices.Equal(values(t, opened.table), values(t, m.table)) {
			t.Error("the parameters are not those of the run")
		}
		opened.params.Release()
	}
	openedAs := func(name string) error {
		_, _, err := train.OpenCustom(ctx, cfg.Dir(), func(_ train.Config, s tableStructure) (named, error) { return reserveTable(dev, ops.F32, name, s) })
		return err
	}
	mustFail(t, openedAs("desk"), `model is "table", want "desk"`)
	_, _, err = train.OpenCustom(ctx, cfg.Dir(), func(train.Config, struct{ Tokens int }) (named, error) { return m, nil })
	mustFail(t, err, `custom: json: unknown field "scale"`)
	_, _, err = train.OpenCustom(ctx, cfg.Dir(), func(_ train.Config, s tableStructure) (named, error) {
		return reserveTable(dev, ops.F32, "table", tableStructure{Tokens: 9})
	})
	mustFail(t, err, `tensor "table" is F32[8 8], want F32, F16 or BF16 of [9 9]`)

	_, _, err = train.OpenCustom(ctx, cfg.Dir(), func(train.Config, tableStructure) (train.Model, error) { return nil, nil })
	mustFail(t, err, "the model is nil")

	tok, err := train.OpenTokenizer(cfg.Dir())
	must(t, err)
	if tok.Name() != cfg.Tokenizer {
		t.Errorf("the tokenizer is %s, the run's %s", tok.Name(), cfg.Tokenizer)
	}
	openedByTools(t, cfg.Dir(), `model is "table", a custom one, and its code is in the program that trained it: there OpenCustom loads it, and Generate`)

	b, err := nn.NewBigram(dev, ops.F32, 8)
	must(t, err)
	defer b.Params().Release()
	cfg.RunName = "bigram"
	must(t, train.Run(ctx, dev, cfg, b, corpus, train.Hooks{}))
	mustFail(t, openedAs("table"), `model is "bigram", want a custom one: OpenModel loads a transformer, Load the parameters of others`)
	openedByTools(t, cfg.Dir(), `model is "bigram", want transformer: Load reads the parameters of this one`)
}

// openedByTools does with a checkpoint what commands sample, export and train
// -from do, which must fail.
func openedByTools(t *testing.T, path, want string) {
	t.Helper()
	_, _, modelErr := train.OpenModel(ctx, vktest.Open(t), path, ops.F32)
	_, configErr := train.Configure("", "", []string{"from=" + path})
	for _, err := range []error{modelErr, configErr, train.ExportCheckpoint(ctx, path, filepath.Join(t.TempDir(), "new"))} {
		mustFail(t, err, want)
		if !errors.Is(err, train.ErrUnsupported) {
			t.Errorf("%v is not ErrUnsupported", err)
		}
	}
}

// A file of a Hugging Face model is no checkpoint: what counts is its folder, also where
// that is not there.
func TestFileOfAHuggingFaceModel(t *testing.T) {
	const file = "hf/testdata/llama/model-00001-of-00003.safetensors"
	folder := t.TempDir()
	must(t, os.CopyFS(folder, os.DirFS("hf/testdata/llama")))
	must(t, os.WriteFile(filepath.Join(folder, "pytorch_model.bin"), nil, 0o666))
	for path, dir := range map[string]string{file: filepath.Dir(file), filepath.Join(folder, "pytorch_model.bin"): folder} {
		_, err := train.Configure("", "", []string{"from=" + path})
		mustFail(t, err, path+" is a part of a Hugging Face model: name its folder, "+dir)
	}
	data, err := os.ReadFile(file)
	must(t, err)
	alone := filepath.Join(t.TempDir(), "model.safetensors")
	must(t, os.WriteFile(alone, data, 0o666))
	openedByTools(t, alone, alone+" is no checkpoint of a training run; a model of Hugging Face's is named by its folder, with its config.json in it")
}

// values are those of a tensor.
func values(t *testing.T, x *ops.Tensor) []float32 {
	t.Helper()
	v := make([]float32, x.Len())
	must(t, ops.Download(ctx, x, v))
	return v
}
