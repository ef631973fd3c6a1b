package train

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/internal/check"
)

func TestSchedulesByName(t *testing.T) {
	for _, c := range []struct {
		name  string
		decay int64
		want  map[int64]float64 // by step, as shares of the way from lr_min to lr_max
	}{
		{"cosine", 0, map[int64]float64{10: 1, 60: 0.5, 110: 0, 200: 0}},
		{"linear", 0, map[int64]float64{10: 1, 35: 0.75, 60: 0.5, 110: 0, 200: 0}},
		{"wsd", 0, map[int64]float64{10: 1, 88: 1, 99: 0.5, 110: 0, 200: 0}},
		{"wsd", 50, map[int64]float64{10: 1, 60: 1, 85: 0.5, 110: 0, 200: 0}},
		{"wsd", 100, map[int64]float64{10: 1, 60: 0.5, 110: 0}},
		{"constant", 0, map[int64]float64{10: 1, 60: 1, 110: 1, 200: 1}},
	} {
		cfg := DefaultConfig()
		cfg.Schedule, cfg.DecayIters, cfg.TotalSteps, cfg.WarmupIters, cfg.LRMax, cfg.LRMin = c.name, c.decay, 110, 10, 3, 1
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
		s := cfg.schedule()
		if at := s.At(5); at != 1.5 {
			t.Errorf("%s: in the middle of the warm-up %v, want 1.5", c.name, at)
		}
		for step, share := range c.want {
			if got, want := s.At(step), 1+2*share; math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: step %d has %v, want %v", c.name, step, got, want)
			}
		}
	}
	if len(schedules) != 4 {
		t.Errorf("%d schedules: some have no case here", len(schedules))
	}
}

// Where a rule is asked for, what is not set becomes what suits it.
func TestDefaultsFollowTheRule(t *testing.T) {
	file := configFile(t, `{"optimizer": "lion", "lr_max": 5e-5}`)
	for _, c := range []struct {
		file, assignments   string
		max, min, decay, b2 float64
	}{
		{"", "", 5e-3, 5e-4, 0.1, 0.95},
		{"", "optimizer=muon", 5e-3, 5e-4, 0.1, 0.95},
		{"", "optimizer=lion", 5e-4, 5e-5, 1, 0.99},
		{"", "optimizer=lion weight_decay=0.3 betas=0.9,0.98", 5e-4, 5e-5, 0.3, 0.98},
		{"", "lr_max=1e-3 lr_min=0 optimizer=lion", 1e-3, 0, 1, 0.99},
		{"", "optimizer=sgd", 0.5, 0.05, 1e-3, 0},
		{"", "optimizer=sgd optimizer=adamw", 5e-3, 5e-4, 0.1, 0.95},
		{file, "", 5e-5, 3e-6, 1, 0.99},
		{file, "optimizer=adamw", 5e-4, 3e-5, 0.1, 0.95},
	} {
		got, err := Configure("", c.file, strings.Fields(c.assignments))
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for _, f := range []struct{ got, want float64 }{{got.LRMax, c.max}, {got.LRMin, c.min}, {got.WeightDecay, c.decay}, {got.Betas[1], c.b2}} {
			if math.Abs(f.got-f.want) > 1e-9*f.want {
				t.Errorf("%+v: lr_max %v, lr_min %v, weight_decay %v, betas %v", c, got.LRMax, got.LRMin, got.WeightDecay, got.Betas)
			}
		}
	}
}

// matrices is a model with a table, a hidden matrix and a vector.
type matrices struct{ p *ops.Params }

func (m matrices) Params() *ops.Params                                   { return m.p }
func (m matrices) Loss(*ops.Graph, *ops.Tensor, *ops.Tensor) *ops.Tensor { return nil }
func (m matrices) Embeddings() []*ops.Tensor                             { return m.p.All()[:1] }
func (m matrices) HiddenMatrices() []*ops.Tensor                         { return m.p.All()[1:2] }

// Muon takes the hidden matrices, and shrinks them as much per step as AdamW would.
func TestGroupsOfMuon(t *testing.T) {
	p := ops.NewParams(vktest.Open(t), ops.F32)
	p.Add("table", 4, 4)
	p.Add("hidden", 4, 4)
	p.Add("norm", 4)
	c := DefaultConfig()
	c.Optimizer, c.NoDecay, c.LRMax, c.MuonLR, c.WeightDecay = "muon", "vectors", 1e-3, 0.02, 0.1
	groups, err := c.groups(matrices{p})
	if err != nil || len(groups) != 3 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	for i, want := range []struct {
		param     int
		rule      optim.Rule
		lr, decay float64
	}{{0, optim.AdamW{}, 1e-3, 0.1}, {2, optim.AdamW{}, 1e-3, 0}, {1, optim.Muon{}, 0.02, 0.005}} {
		g := groups[i]
		if !slices.Equal(g.Params, []*ops.Tensor{p.All()[want.param]}) || g.Rule != want.rule || g.LR != want.lr || math.Abs(g.WeightDecay-want.decay) > 1e-15 {
			t.Errorf("group %d is %+v, want %+v", i, g, want)
		}
	}
	c.LRMax, c.LRMin = 0, 0
	check.Error(t, c.Validate(), "lr_max is 0", "muon_lr")
}

// Nothing is said to have changed of a checkpoint that lacks the fields which came
// with a choice of rules and of the size of heads, when what it was is still asked for.
func TestEarlierConfigHasChangedNothing(t *testing.T) {
	now := DefaultConfig()
	text, err := json.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"optimizer", "muon_lr", "schedule", "decay_iters", "rank", "head_size"} {
		delete(fields, name)
	}
	if text, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	before := earlierConfig()
	if err := json.Unmarshal(text, &before); err != nil {
		t.Fatal(err)
	}
	if diff := now.Diff(before); before != now || diff != nil || now.stepChange(before) != "" || now.scheduleChange(before, 5000) != "" {
		t.Errorf("%+v: %v %q %q", before, diff, now.stepChange(before), now.scheduleChange(before, 5000))
	}
}
