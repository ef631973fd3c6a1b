package optim_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

func TestSpec2Defaults(t *testing.T) {
	if got, want := optim.DefaultHyper(), (optim.Hyper{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8}); got != want {
		t.Errorf("defaults are %+v, want %+v", got, want)
	}
	var o optim.Options
	if o.Rule != nil || (optim.AdamW{}).Torch {
		t.Errorf("the default rule is %v", o.Rule)
	}
}

func TestSpec2RejectedHyperParameters(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, []float32{1, 2})
	a := newOptimizer(t, p, nil)
	r := record(t, a, dev)
	inf, nan := math.Inf(1), math.NaN()
	for _, f := range []struct {
		name string
		set  func(h *optim.Hyper, v float64)
		bad  []float64
		good []float64
	}{
		{"LR", func(h *optim.Hyper, v float64) { h.LR = v }, []float64{-1e-9, -inf, inf, nan, 1e300}, []float64{0, 1e-3, 100}},
		{"Eps", func(h *optim.Hyper, v float64) { h.Eps = v }, []float64{-1e-9, -inf, inf, nan, 1e300}, []float64{0, 1e-8, 1}},
		{"WeightDecay", func(h *optim.Hyper, v float64) { h.WeightDecay = v }, []float64{-1e-9, -inf, inf, nan, 1e300}, []float64{0, 0.1, 2}},
		{"Beta1", func(h *optim.Hyper, v float64) { h.Beta1 = v }, []float64{-0.1, 1, 1.5, -inf, inf, nan}, []float64{0, 0.9, math.Nextafter(1, 0)}},
		{"Beta2", func(h *optim.Hyper, v float64) { h.Beta2 = v }, []float64{-0.1, 1, 1.5, -inf, inf, nan}, []float64{0, 0.999, math.Nextafter(1, 0)}},
	} {
		for _, v := range f.bad {
			h := optim.DefaultHyper()
			f.set(&h, v)
			want := fmt.Sprintf("%s is %v", f.name, v)
			_, err := optim.NewAdamW(p, &optim.Options{Groups: []optim.Group{{Params: p.All(), Hyper: h}}})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "group 0") {
				t.Errorf("NewAdamW: %v, want an error with %q and the group", err, want)
			}
			a.Groups()[0].Hyper = h
			if err := r.Stage(r.step); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Stage: %v, want an error with %q", err, want)
			}
			a.Groups()[0].Hyper = optim.DefaultHyper()
		}
		for _, v := range f.good {
			h := optim.DefaultHyper()
			f.set(&h, v)
			if err := h.Validate(); err != nil {
				t.Errorf("%s %v: %v", f.name, v, err)
			}
		}
	}
	h := optim.Hyper{LR: 1e20, WeightDecay: 1e20} // each is an f32, not so what a step makes of them
	if err := h.Validate(); err == nil || !strings.Contains(err.Error(), "LR*WeightDecay is 1e+40") {
		t.Errorf("%+v: %v", h, err)
	}
	h = optim.Hyper{LR: 1e38, Beta1: 0.875}
	if err := h.Validate(); err == nil || !strings.Contains(err.Error(), "LR/(1-Beta1) is 8e+38") {
		t.Errorf("%+v: %v", h, err)
	}
	a.SetLR(-1)
	if err := r.Stage(r.step); err == nil || !strings.Contains(err.Error(), "LR is -1") {
		t.Errorf("Stage after SetLR(-1): %v", err)
	}
}

func TestSpec2RejectedOptions(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, []float32{1}, []float32{2})
	other := newParams(t, dev, ops.F32, []float32{3})
	unallocated := ops.NewParams(dev, ops.F32)
	unallocated.Add("x", 1)
	x, h := p.All(), optim.DefaultHyper()
	groups := func(g ...optim.Group) *optim.Options { return &optim.Options{Groups: g} }
	for _, c := range []struct {
		p    *ops.Params
		o    *optim.Options
		want string
	}{
		{nil, nil, "no parameter set"},
		{unallocated, nil, "has no memory yet"},
		{ops.NewParams(dev, ops.F32), nil, "group 0 has no parameters"},
		{p, groups(optim.Group{Hyper: h}), "group 0 has no parameters"},
		{p, groups(optim.Group{Params: x, Hyper: h}, optim.Group{Params: other.All(), Hyper: h}), "group 1: p0 f32[1] is not a parameter of this set"},
		{p, groups(optim.Group{Params: []*ops.Tensor{nil}, Hyper: h}), "group 0: nil is not a parameter of this set"},
		{p, groups(optim.Group{Params: x[:1], Hyper: h}, optim.Group{Params: x, Hyper: h}), `parameter "p0" is in group 0 and again in group 1`},
		{p, groups(optim.Group{Params: []*ops.Tensor{x[1], x[1]}, Hyper: h}), `parameter "p1" is in group 0 and again in group 0`},
		{p, &optim.Options{MaxNorm: new(-1.0)}, "MaxNorm is -1"},
		{p, &optim.Options{MaxNorm: new(math.NaN())}, "MaxNorm is NaN"},
		{p, &optim.Options{Scaler: &optim.Scaler{Init: -1}}, "Scaler.Init is -1"},
		{p, &optim.Options{Scaler: &optim.Scaler{Init: math.Inf(1)}}, "Scaler.Init is +Inf"},
		{p, &optim.Options{Scaler: &optim.Scaler{Init: 1e-50}}, "Scaler.Init is 1e-50"}, // 0 in f32: every gradient would be
		{p, &optim.Options{Scaler: &optim.Scaler{Backoff: 1e-50}}, "Scaler.Backoff is 1e-50"},
		{p, &optim.Options{Scaler: &optim.Scaler{Growth: 1 + 1e-9}}, "Scaler.Growth is 1.000000001"}, // 1 in f32
		{p, &optim.Options{Rule: (*optim.SGD)(nil)}, "group 0: the rule is a nil *optim.SGD"},
		{p, groups(optim.Group{Params: x, Rule: (*optim.Muon)(nil)}), "group 0: the rule is a nil *optim.Muon"},
		{p, &optim.Options{Scaler: &optim.Scaler{Growth: 1}}, "Scaler.Growth is 1"},
		{p, &optim.Options{Scaler: &optim.Scaler{Growth: math.NaN()}}, "Scaler.Growth is NaN"},
		{p, &optim.Options{Scaler: &optim.Scaler{Backoff: 1.5}}, "Scaler.Backoff is 1.5"},
		{p, &optim.Options{Scaler: &optim.Scaler{Interval: -3}}, "Scaler.Interval is -3"},
	} {
		if _, err := optim.NewAdamW(c.p, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", err, c.want)
		}
	}
	empty := ops.NewParams(dev, ops.F32)
	empty.Add("none", 0, 4)
	if err := empty.Alloc(); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("an empty parameter: %v, want an error with its name", err)
	}
}

// What can't be recorded or staged is an error, and never a panic.
func TestSpec2RecordErrors(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, []float32{1}, []float32{2})
	other := newParams(t, dev, ops.F32, []float32{3})
	a := newOptimizer(t, p, &optim.Options{Groups: []optim.Group{{Params: p.All()[:1], Hyper: optim.DefaultHyper()}}})
	compile := func(a *optim.Optimizer, params ...*ops.Tensor) (recording, error) {
		g := ops.NewGraph(dev)
		t.Cleanup(g.Release)
		u := a.Record(g, params...)
		s, err := g.Compile()
		return recording{u, s}, err
	}
	for _, c := range []struct {
		params []*ops.Tensor
		want   string
	}{
		{other.All(), "parameter 0 (p0 f32[1]) is not of this set"},
		{p.All()[1:], "no parameter of the optimizer's groups"},
	} {
		r, err := compile(a, c.params...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", err, c.want)
		}
		if err := r.Stage(r.step); err == nil {
			t.Error("Stage of a graph that was not compiled succeeds")
		}
	}
	now := ops.NewImmediate(dev)
	defer now.Release()
	if a.Record(now); now.Err() == nil || !strings.Contains(now.Err().Error(), "NewGraph") {
		t.Errorf("Record in an immediate graph: %v", now.Err())
	}
	g := ops.NewGraph(dev)
	defer g.Release()
	g.Backward(g.Scale(other.All()[0], 2), nil)
	if a.Record(g); g.Err() == nil || !strings.Contains(g.Err().Error(), "no parameter") {
		t.Errorf("Record after Backward reached another set alone: %v", g.Err())
	}
	first, second := record(t, a, dev), record(t, a, dev)
	if err := first.Stage(second.step); err == nil || !strings.Contains(err.Error(), "another graph") {
		t.Errorf("Stage with the step of another recording: %v", err)
	}
	must(t, ops.Upload(ctx, a.Sets()[0].Grad(a.Sets()[0].All()[0]), []float32{1}))
	first.run(t)
	must(t, first.step.Close())
	if err := first.Stage(first.step); err == nil {
		err = first.step.Run()
		if err == nil {
			t.Error("a closed step runs")
		}
	}
	second.run(t)
	s, err := a.State(ctx)
	must(t, err)
	if s.Steps["p0"] != 2 {
		t.Errorf("%d steps counted over a closed recording and another, want 2", s.Steps["p0"])
	}
	if m, v, master := moments(a, other.All()[0]); m != nil || v != nil || master != nil {
		t.Error("Moments of another set's parameter are not nil")
	}
	if m, _, _ := moments(a, nil); m != nil {
		t.Error("Moments(nil) is not nil")
	}
	released, err := optim.NewAdamW(p, nil)
	must(t, err)
	released.Release()
	if _, err := compile(released); err == nil || !strings.Contains(err.Error(), "released") {
		t.Errorf("Record of a released optimizer: %v", err)
	}
}
