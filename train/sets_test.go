package train_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// adapted is a frozen table of logits with an f32 product of two thin matrices that
// is added to it.
type adapted struct {
	*nn.Bigram
	thin       *ops.Params
	left, wide *ops.Tensor // (V, 8), (8, V)
}

func newAdapted(dev *vk.Device, c train.Config) (*adapted, error) {
	base, err := nn.NewBigram(dev, ops.BF16, c.Vocab)
	if err != nil {
		return nil, err
	}
	base.Params().Freeze()
	m := &adapted{Bigram: base, thin: ops.NewParams(dev, ops.F32)}
	m.left, m.wide = m.thin.Add("left", c.Vocab, 8), m.thin.Add("wide", 8, c.Vocab)
	if err := m.thin.Alloc(); err != nil {
		return nil, err
	}
	return m, nn.Initialize(ctx, m.thin, 1, func(*ops.Tensor) nn.Init { return nn.Init{Deviation: 0.1} })
}

func (m *adapted) Sets() []*ops.Params { return []*ops.Params{m.Params(), m.thin} }

func (m *adapted) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	ignore := data.PadTarget
	logits := g.Cast(g.Embed(m.Params().All()[0], x), ops.F32)
	logits = g.Add(logits, g.MatMul(g.Embed(m.left, x), m.wide))
	return g.CrossEntropy(logits, y, &ops.CrossEntropyOptions{IgnoreIndex: &ignore})
}

// grouped gives each of the thin matrices a rule of its own.
type grouped struct{ *adapted }

func (m grouped) Groups(c train.Config) ([]optim.Group, error) {
	return []optim.Group{{Params: []*ops.Tensor{m.left}, Rule: optim.Muon{}, Hyper: optim.Hyper{LR: c.LRMax / 4}},
		{Params: []*ops.Tensor{m.wide}, Rule: optim.Lion{}, Hyper: optim.Hyper{LR: c.LRMax}}}, nil
}

// A model's own groups have their rules, and rates that follow the schedule.
func TestGroupsOfTheModel(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.WarmupIters = 0
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	defer data.Close()
	m, err := newAdapted(dev, c)
	must(t, err)
	defer m.thin.Release()
	defer m.Params().Release()
	tr, err := train.NewTrainer(dev, c, grouped{m}, data.Train)
	must(t, err)
	defer tr.Close()
	before := make([]float32, m.wide.Len())
	must(t, ops.Download(ctx, m.wide, before))
	must(t, tr.Step())
	after := make([]float32, m.wide.Len())
	must(t, ops.Download(ctx, m.wide, after))
	for i := range after {
		if d := math.Abs(float64(after[i] - before[i])); math.Abs(d-c.LRMax) > 1e-6 {
			t.Fatalf("value %d moved by %v, Lion's first step is %v", i, d, c.LRMax)
		}
	}
	for name, p := range map[string]*ops.Tensor{"muon.m": m.left, "lion.m": m.wide} {
		if s := tr.Optimizer().Slots(p); len(s) != 1 || s[0].Name != name {
			t.Errorf("%v has slots %v, want %s", p, s, name)
		}
	}
	for range 15 {
		must(t, tr.Step())
	}
	if g := tr.Optimizer().Groups(); g[0].LR*4 != g[1].LR || !(g[1].LR < c.LRMax) {
		t.Errorf("rates %v and %v after 16 steps from %v", g[0].LR, g[1].LR, c.LRMax)
	}
}

// ungrouped returns what it is told to.
type ungrouped struct {
	*adapted
	groups []optim.Group
}

func (m ungrouped) Groups(train.Config) ([]optim.Group, error) { return m.groups, nil }

// unregistered is a rule whose name nobody knows.
type unregistered struct{ optim.Lion }

func (unregistered) Name() string { return "unregistered" }

// Groups with which nothing would be learned, without a word, or whose checkpoints could
// not be read, are refused.
func TestGroupsThatAreRefused(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	defer data.Close()
	m, err := newAdapted(dev, c)
	must(t, err)
	defer m.thin.Release()
	defer m.Params().Release()
	moving := optim.Group{Params: []*ops.Tensor{m.left}, Hyper: optim.Hyper{LR: c.LRMax}}
	forgotten := optim.Group{Params: []*ops.Tensor{m.wide}}
	unknown := moving
	unknown.Rule = unregistered{}
	for want, groups := range map[string][]optim.Group{
		"returned none, so no parameter would be updated":                                                          nil,
		"group 1 of a model of type train_test.ungrouped has a learning rate of 0":                                 {moving, forgotten},
		`rule "unregistered" is a train_test.unregistered, unknown to readers of checkpoints: call optim.Register`: {unknown},
	} {
		_, err := train.NewTrainer(dev, c, ungrouped{m, groups}, data.Train)
		mustFail(t, err, want)
	}
	forgotten.LR = optim.Zero
	tr, err := train.NewTrainer(dev, c, ungrouped{m, []optim.Group{moving, forgotten}}, data.Train)
	must(t, err)
	must(t, tr.Close())
}

func runAdapted(ctx context.Context, dev *vk.Device, c train.Config, h train.Hooks) error {
	data, err := train.OpenData(ctx, c, nil)
	if err != nil {
		return err
	}
	defer data.Close()
	m, err := newAdapted(dev, c)
	if err != nil {
		return err
	}
	defer m.thin.Release()
	defer m.Params().Release()
	return train.Run(ctx, dev, c, m, data, h)
}

// A run of a model with a frozen set: that has neither gradients nor moments in the
// plan, which the run holds to the byte, stays as it is, and is in the checkpoint,
// from which the run goes on to the same bits.
func TestFrozenSetIsFree(t *testing.T) {
	for _, accumulate := range []int{1, 2} {
		dev := vktest.Open(t)
		whole := smallRun(t, t.TempDir())
		whole.GradAccum, whole.WeightDecay = accumulate, 0.1
		var plan train.MemoryPlan
		var last train.Record
		must(t, runAdapted(ctx, dev, whole, train.Hooks{Plan: func(p train.MemoryPlan) { plan = p }, Progress: func(r train.Record) { last = r }}))
		thin, base, counters := int64(2*8*whole.Vocab*4), int64(2*whole.Vocab*whole.Vocab), int64(16)
		if accumulate > 1 {
			counters += 4
		}
		if plan.Parameters != base+thin || plan.Gradients != thin || plan.Optimizer > 2*thin+counters+16 || plan.Optimizer < 2*thin+counters {
			t.Errorf("a frozen set of %d bytes beside one of %d:\n%v", base, thin, plan)
		}
		if got := dev.Stats().PeakBytes; got != plan.Total() {
			t.Errorf("at most %d bytes on the device, planned %d:\n%v", got, plan.Total(), plan)
		}
		if !(*last.Loss < 3) { // log 128 is 4.85
			t.Errorf("the loss is %v: nothing was learned", *last.Loss)
		}
		stopped := whole
		stopped.RunName = "stopped"
		stop, cancel := context.WithCancel(ctx)
		if err := runAdapted(stop, dev, stopped, train.Hooks{Progress: func(train.Record) { cancel() }}); !errors.Is(err, train.ErrInterrupted) {
			t.Fatalf("stopped run: %v", err)
		}
		must(t, runAdapted(ctx, dev, stopped, train.Hooks{}))
		got := state(t, stopped)
		sameState(t, got, state(t, whole))
		frozen := 0
		for name, values := range got {
			if name == "bigram.table" {
				frozen++
				if strings.Trim(values, "\x00") != "" {
					t.Error("the frozen table has moved")
				}
			}
		}
		if frozen != 1 || len(got) != 1+1+2*3 {
			t.Errorf("%d tensors of state, %d of them of the frozen set", len(got)-1, frozen)
		}
	}
}
