package train_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

type hiddenLayers struct {
	layers int
	Width  int
}

type embedsHidden struct {
	hiddenLayers
	Width int
}

type shadowed struct {
	tableStructure
	Tokens int `json:"tokens"`
}

type sameTag struct {
	A, B int
	C    int `json:"A"`
}

type onPurpose struct {
	Width int
	cache []int `json:"-"`
}

// newAlphabet returns a small run, on a text of 8 tokens.
func newAlphabet(t *testing.T) (train.Config, data.Corpus) {
	t.Helper()
	cfg := smallRun(t, t.TempDir())
	cfg.Vocab, cfg.ContextLen, cfg.BatchSize, cfg.TotalSteps, cfg.MixedPrecision = 8, 8, 2, 2, false
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(i * 7 % 8)
	}
	return cfg, data.Corpus{Train: data.NewTokens(text), Val: data.NewTokens(text[:50])}
}

// newTable is a custom model whose parameters have these names.
func newTable(t *testing.T, dev *vk.Device, names ...string) *sparing {
	t.Helper()
	m := &sparing{params: ops.NewParams(dev, ops.F32)}
	for _, name := range names {
		m.table = m.params.Add(name, 8, 8)
	}
	must(t, m.params.Alloc())
	t.Cleanup(m.params.Release)
	return m
}

// A structure of which the checkpoint would lack a part is refused: the run would be resumed by a model that differs in it.
func TestStructureIsWrittenWhole(t *testing.T) {
	dev := vktest.Open(t)
	cfg, corpus := newAlphabet(t)
	m := newTable(t, dev, "table")
	const advice = ": export the field, with a name of its own there, in UTF-8, or tag it"
	for _, c := range []struct {
		structure any
		want      string
	}{
		{hiddenLayers{2, 8}, `train: structure of model table: train_test.hiddenLayers.layers is not in the JSON object that encoding/json makes of it, {"Width":8}` + advice},
		{&hiddenLayers{layers: 2}, "*train_test.hiddenLayers.layers is not in"},
		{embedsHidden{hiddenLayers{Width: 3}, 8}, "embedsHidden.hiddenLayers.Width is not in"},
		{shadowed{tableStructure{Tokens: 8}, 8}, "shadowed.tableStructure.Tokens is not in"},
		{sameTag{A: 1}, "sameTag.A is not in"},
		{struct{ List []hiddenLayers }{[]hiddenLayers{{}, {layers: 1}}}, ".List[1].layers is not in"},
		{map[string]any{"a": 1, "b": "\xff"}, `map[string]interface {}["b"] is not in`},
		{map[string]int{"\xff": 1}, `map[string]int["\xff"] is not in`},
		{struct{ list []int }{[]int{1}}, ".list is not in"},

		{hiddenLayers{Width: 8}, ""},
		{onPurpose{8, []int{1}}, ""},
		{map[string]any{"layers": 2, "list": []any{1, "x", nil}, "none": []int(nil)}, ""},
		{map[int]*float32{3: new(float32(0.1))}, ""},
		{struct{ At time.Time }{time.Unix(1, 0)}, ""},
		{json.RawMessage(`{"a":[1]}`), ""},
		{struct {
			Empty []int `json:",omitempty"`
			Any   any
			Big   uint64
		}{[]int{}, 1 << 60, 1<<64 - 1}, ""},
	} {
		err := train.Run(ctx, dev, cfg, named{m, "table", c.structure}, corpus, train.Hooks{})
		if c.want != "" {
			mustFail(t, err, c.want)
			continue
		}
		must(t, err)
		must(t, os.RemoveAll(cfg.Dir()))
	}
	mustFail(t, train.Run(ctx, dev, cfg, named{m, "\xff", nil}, corpus, train.Hooks{}), `describes itself as "\xff", which is not UTF-8`)
	_, _, err := train.OpenCustom[named, tableStructure](ctx, cfg.Dir(), nil)
	mustFail(t, err, "no function that makes the model")
}

// Names that no checkpoint can hold are refused before there is anything to save.
func TestNamesThatCanBeSaved(t *testing.T) {
	dev := vktest.Open(t)
	cfg, corpus := newAlphabet(t)
	for want, names := range map[string][]string{
		`train: tensor name "__metadata__" is reserved: a checkpoint could not hold it`:                                       {"__metadata__"},
		`train: tensor name "\xff" is not UTF-8`:                                                                              {"w", "\xff"},
		`train: a checkpoint would have two tensors "adamw.m.w": first moment of "w" and another, rename one parameter`:       {"adamw.m.w", "w"},
		`train: a checkpoint would have two tensors "adamw.v.a.b": parameter "adamw.v.a.b" and another, rename one parameter`: {"a.b", "adamw.v.a.b"},
	} {
		m := newTable(t, dev, names...)
		mustFail(t, train.Run(ctx, dev, cfg, m, corpus, train.Hooks{}), want)
		if _, err := train.NewTrainer(dev, cfg, m, corpus.Train); err == nil {
			t.Errorf("a trainer of %q", names)
		}
	}
}

// ruled is a model with groups and lists of its own.
type ruled struct {
	*sparing
	groups []optim.Group
}

func (m ruled) Groups(train.Config) ([]optim.Group, error) { return m.groups, nil }

// listed names parameters that it may not have.
type listed struct {
	*sparing
	list []*ops.Tensor
}

func (m listed) Embeddings() []*ops.Tensor     { return m.list }
func (m listed) HiddenMatrices() []*ops.Tensor { return m.list }

// Parameters that would stand still, or be trained by another rule than the one that was asked for, are an error.
func TestWhatAModelSaysOfItsParameters(t *testing.T) {
	dev := vktest.Open(t)
	cfg, corpus := newAlphabet(t)
	m, other := newTable(t, dev, "table"), newTable(t, dev, "table")
	trainer := func(c train.Config, m train.Model) error {
		tr, err := train.NewTrainer(dev, c, m, corpus.Train)
		if err == nil {
			must(t, tr.Close())
		}
		return err
	}
	group := func(lr float64) ruled {
		return ruled{m, []optim.Group{{Params: m.params.All(), Hyper: optim.Hyper{LR: lr}}}}
	}
	still := cfg
	still.LRMax, still.LRMin = 0, 0
	mustFail(t, trainer(still, group(0.1)), "lr_max is 0, and the rate of group 0 falls with it")
	must(t, trainer(cfg, group(optim.Zero)))
	must(t, trainer(still, group(0)))

	muon, spared := cfg, cfg
	muon.Optimizer, spared.NoDecay = "muon", "vectors+embeddings"
	for _, foreign := range []*ops.Tensor{nil, other.table} {
		mustFail(t, trainer(muon, listed{m, []*ops.Tensor{m.table, foreign}}), "HiddenMatrices of a model of type train_test.listed names "+foreign.String()+", which is none of its parameters")
		mustFail(t, trainer(spared, listed{m, []*ops.Tensor{foreign}}), "Embeddings of a model of type train_test.listed names "+foreign.String())
	}
	must(t, trainer(muon, listed{m, []*ops.Tensor{m.table}}))
}
