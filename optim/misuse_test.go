package optim_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

func wantError(t testing.TB, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}

// table is a bigram model's, of 6 tokens, with the loss of one batch.
type table struct {
	params  *ops.Params
	e       *ops.Tensor
	ids     *ops.Tensor
	targets *ops.Tensor
}

func newTable(t testing.TB, dev *vk.Device, dt ops.DType) table {
	t.Helper()
	p := ops.NewParams(dev, dt)
	m := table{params: p, e: p.Add("table", 6, 6)}
	must(t, p.Alloc())
	t.Cleanup(p.Release)
	must(t, ops.Upload(ctx, m.e, opstest.Uniform(5, 36, 1)))
	return m
}

func (m *table) loss(t testing.TB, g *ops.Graph) *ops.Tensor {
	t.Helper()
	m.ids, m.targets = g.Input("ids", ops.I32, 9), g.Input("targets", ops.I32, 9)
	must(t, ops.Upload(ctx, m.ids, opstest.IDs(1, 9, 6)))
	must(t, ops.Upload(ctx, m.targets, opstest.IDs(2, 9, 6)))
	return g.CrossEntropy(g.Embed(m.e, m.ids), m.targets, nil)
}

// A run without Stage is refused, and so is a second one after it: nothing moves.
func TestRunNeedsStage(t *testing.T) {
	dev := vktest.Open(t)
	m := newTable(t, dev, ops.F32)
	a := newOptimizer(t, m.params, nil)
	g := ops.NewGraph(dev)
	g.Backward(m.loss(t, g), nil)
	u := a.Record(g)
	step, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { must(t, step.Close()) })
	start := stateOf(t, m.params, a)
	wantError(t, "Run", step.Run(), "call Update.Stage before each Run")
	stateOf(t, m.params, a).sameBits(t, "after the refused run", start)
	must(t, u.Stage(step))
	must(t, step.Run())
	moved := stateOf(t, m.params, a)
	if moved.p[0] == start.p[0] {
		t.Error("the staged run moved nothing")
	}
	wantError(t, "second Run", step.Run(), "is not staged for run 2: call Update.Stage before each Run")
	stateOf(t, m.params, a).sameBits(t, "after the second refused run", moved)
	must(t, step.Close())
	wantError(t, "Stage of a closed step", u.Stage(step), "closed")
	wantError(t, "Run of a closed step", step.Run(), "closed")
	a.Release()
	wantError(t, "Stage of a released optimizer", u.Stage(step), "the optimizer was released")
}

// g.Backward(loss, nil) is the backward pass that the optimizer needs: with loss
// scaling the norm is that of the unscaled gradients, and clipping acts.
func TestPlainBackwardKnowsTheOptimizer(t *testing.T) {
	dev := vktest.Open(t)
	run := func(dt ops.DType, o optim.Options, backward func(a *optim.Optimizer, g *ops.Graph, loss *ops.Tensor)) (norm float64, s state) {
		m := newTable(t, dev, dt)
		o.MaxNorm = new(0.01)
		a := newOptimizer(t, m.params, &o)
		g := ops.NewGraph(dev)
		loss := m.loss(t, g)
		backward(a, g, loss)
		u := a.Record(g)
		step, err := g.Compile()
		must(t, err)
		defer step.Close()
		for range 3 {
			must(t, u.Stage(step))
			must(t, step.Run())
			norm, err = u.Norm(ctx)
			must(t, err)
		}
		return norm, stateOf(t, m.params, a)
	}
	plain := func(a *optim.Optimizer, g *ops.Graph, loss *ops.Tensor) { g.Backward(loss, nil) }
	own := func(a *optim.Optimizer, g *ops.Graph, loss *ops.Tensor) { a.Backward(g, loss, 1) }
	norm, unscaled := run(ops.F32, optim.Options{}, plain)
	for _, o := range []optim.Options{{Scaler: &optim.Scaler{}}, {Accumulate: true}, {Scaler: &optim.Scaler{}, Accumulate: true}} {
		got, s := run(ops.F32, o, plain)
		if got != norm {
			t.Errorf("%+v: norm %v, want %v", o, got, norm)
		}
		s.sameBits(t, "beside no scaling", unscaled) // by a power of two
		for _, dt := range []ops.DType{ops.F16, ops.BF16} {
			want, ownState := run(dt, o, own)
			got, s := run(dt, o, plain)
			if got != want || !(math.Abs(got-norm) <= 0.01*norm) {
				t.Errorf("%s, %+v: norm %v, want %v, near %v", dt, o, got, want, norm)
			}
			s.sameBits(t, "beside Optimizer.Backward", ownState)
		}
	}
}

// The pass and the update in graphs of their own, in their plain form: the sum.
func TestPlainBackwardAccumulates(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		for _, scaler := range []*optim.Scaler{nil, {}} {
			m := newTable(t, dev, dt)
			a := newOptimizer(t, m.params, &optim.Options{Accumulate: true, Scaler: scaler,
				Groups: []optim.Group{{Params: m.params.All(), Hyper: optim.Hyper{LR: 1e-3, Beta1: optim.Zero}}}})
			g := ops.NewGraph(dev)
			g.Backward(m.loss(t, g), nil)
			pass, err := g.Compile()
			must(t, err)
			defer pass.Close()
			update := record(t, a, dev)
			for range 3 {
				must(t, pass.Run())
			}
			update.run(t)
			scores, ids, targets := opstest.Round(dt.String(), opstest.Uniform(5, 36, 1)), opstest.IDs(1, 9, 6), opstest.IDs(2, 9, 6)
			r := opstest.CrossEntropy64(opstest.Embed64(scores, ids, 6), targets, 6, opstest.CrossEntropyOptions{Scale: 3})
			first, _, _ := moments(a, m.e)
			near(t, "the gradient of three passes", download(t, first), opstest.EmbedBackward64(r.Grad, ids, 6, 6), max(1e-6, opstest.Epsilon(dt.String())))
		}
	}
}

// What would train on gradients of another run, another loss scale or another
// set is an error that names the call to make.
func TestRecordMisuse(t *testing.T) {
	dev := vktest.Open(t)
	m, other := newTable(t, dev, ops.F32), newTable(t, dev, ops.F32)
	a, foreign := newOptimizer(t, m.params, nil), newOptimizer(t, other.params, nil)
	set := newTable(t, dev, ops.F32) // of optimizers that need a backward pass of their own
	scaled := newOptimizer(t, set.params, &optim.Options{Scaler: &optim.Scaler{}})
	newOptimizer(t, set.params, &optim.Options{Accumulate: true})
	for _, c := range []struct {
		name  string
		build func(g *ops.Graph)
		want  string
	}{
		{"Record before Backward", func(g *ops.Graph) {
			loss := m.loss(t, g)
			a.Record(g)
			g.Backward(loss, nil)
		}, "call Backward first, then Record"},
		{"Record first of all", func(g *ops.Graph) {
			a.Record(g)
			g.Backward(m.loss(t, g), nil)
		}, "call Backward first, then Record"},
		{"Record first of all, no Backward", func(g *ops.Graph) {
			a.Record(g)
			g.Output(m.loss(t, g))
		}, "Backward was never called"},
		{"named parameters before Backward", func(g *ops.Graph) {
			loss := m.loss(t, g)
			a.Record(g, m.e)
			g.Backward(loss, nil)
		}, "call Backward first, then Record"},
		{"no Backward", func(g *ops.Graph) {
			g.Output(m.loss(t, g))
			a.Record(g)
		}, "call Backward first, then Record"},
		{"Record twice", func(g *ops.Graph) {
			g.Backward(m.loss(t, g), nil)
			a.Record(g)
			a.Record(g)
		}, "the graph updates table f32[6 6] already"},
		{"Record twice without Backward", func(g *ops.Graph) {
			a.Record(g)
			a.Record(g)
		}, "the graph updates table f32[6 6] already"},
		{"Backward twice", func(g *ops.Graph) {
			loss := m.loss(t, g)
			g.Backward(loss, nil)
			g.Backward(loss, nil)
		}, "called twice on one graph"},
		{"a loss of another graph", func(g *ops.Graph) {
			h := ops.NewGraph(dev)
			defer h.Release()
			m.loss(t, g)
			g.Backward(m.loss(t, h), nil)
		}, "belongs to another graph"},
		{"other parameters", func(g *ops.Graph) {
			g.Backward(m.loss(t, g), nil)
			foreign.Record(g)
		}, "no parameter of the optimizer's groups has a gradient in this graph"},
		{"other parameters by name", func(g *ops.Graph) {
			g.Backward(m.loss(t, g), nil)
			foreign.Record(g, other.e)
		}, "does not depend on table"},
		{"an optimizer made after Backward", func(g *ops.Graph) {
			late := newTable(t, dev, ops.F32)
			g.Backward(late.loss(t, g), nil)
			newOptimizer(t, late.params, &optim.Options{Scaler: &optim.Scaler{}}).Record(g)
		}, "create the optimizer before g.Backward"},
		{"a seed of one's own under loss scaling", func(g *ops.Graph) {
			g.Backward(set.loss(t, g), &ops.BackwardOptions{})
			scaled.Record(g)
		}, "is not this optimizer's"},
		{"the backward pass of another optimizer", func(g *ops.Graph) {
			g.Backward(set.loss(t, g), nil) // of the newer one
			scaled.Record(g)
		}, "is not this optimizer's"},
		{"two optimizers", func(g *ops.Graph) {
			p := newTable(t, dev, ops.F32)
			newOptimizer(t, p.params, &optim.Options{Scaler: &optim.Scaler{}})
			g.Backward(g.Add(set.loss(t, g), p.loss(t, g)), nil)
		}, "parameters of two optimizers"},
		{"an immediate graph", func(g *ops.Graph) {
			now := ops.NewImmediate(dev)
			defer now.Release()
			a.Record(now)
			g.Fail("test", now.Err())
		}, "record it in a graph from NewGraph"},
		{"a second optimizer", func(g *ops.Graph) {
			p, first := newTable(t, dev, ops.F32), ops.NewGraph(dev)
			defer first.Release()
			first.Backward(p.loss(t, first), nil)
			one := newOptimizer(t, p.params, nil)
			one.Record(first)
			must(t, first.Err())
			g.Backward(p.loss(t, g), nil)
			newOptimizer(t, p.params, nil).Record(g)
		}, "another optimizer updates table f32[6 6]: Release that one first"},
		{"a released optimizer", func(g *ops.Graph) {
			p := newTable(t, dev, ops.F32)
			gone, err := optim.NewAdamW(p.params, &optim.Options{Scaler: &optim.Scaler{}})
			must(t, err)
			gone.Release()
			g.Backward(p.loss(t, g), nil) // from 1 again
			gone.Record(g)
		}, "the optimizer was released"},
		{"Backward of a released optimizer", func(g *ops.Graph) {
			p := newTable(t, dev, ops.F32)
			gone, err := optim.NewAdamW(p.params, nil)
			must(t, err)
			gone.Release()
			gone.Backward(g, p.loss(t, g), 1)
		}, "has no memory"},
	} {
		g := ops.NewGraph(dev)
		c.build(g)
		_, err := g.Compile()
		wantError(t, c.name, err, c.want)
		g.Release()
	}
	// Two optimizers for parts of one set, as long as neither needs its own pass.
	p := newParams(t, dev, ops.F32, []float32{1}, []float32{2})
	var parts []*optim.Optimizer
	for i := range 2 {
		parts = append(parts, newOptimizer(t, p, &optim.Options{Groups: []optim.Group{{Params: p.All()[i : i+1], Hyper: optim.DefaultHyper()}}}))
	}
	for range 2 {
		g := ops.NewGraph(dev)
		g.Backward(g.Add(g.Scale(g.View(p.All()[0]), 1), g.Scale(g.View(p.All()[1]), 1)), nil)
		for _, part := range parts {
			part.Record(g)
		}
		step, err := g.Compile()
		must(t, err)
		must(t, step.Close())
	}
}

// A backward pass for an optimizer whose Record was forgotten does not run: nothing
// would train. Gradients alone, and a pass whose update is elsewhere, do; so does the
// update of another optimizer once the first is released.
func TestRunNeedsRecord(t *testing.T) {
	dev := vktest.Open(t)
	for name, o := range map[string]*optim.Options{"plain": nil, "scaled": {Scaler: &optim.Scaler{}}, "accumulated": {Accumulate: true}} {
		m := newTable(t, dev, ops.F32)
		pass := func(b *ops.BackwardOptions) *ops.Step {
			g := ops.NewGraph(dev)
			loss := m.loss(t, g)
			g.Backward(loss, b)
			g.Output(loss)
			step, err := g.Compile()
			must(t, err)
			t.Cleanup(func() { must(t, step.Close()) })
			return step
		}
		must(t, pass(nil).Run()) // nobody is there to update
		a, err := optim.NewAdamW(m.params, o)
		must(t, err)
		step := pass(nil)
		wantError(t, name, step.Run(), "ops: run: the backward pass is for an optimizer of which no graph has an update: call its Record")
		must(t, pass(&ops.BackwardOptions{}).Run())
		r := record(t, a, dev)
		must(t, step.Run())
		r.run(t)
		must(t, dev.Wait(ctx))
		a.Release()
		record(t, newOptimizer(t, m.params, nil), dev).run(t)
	}
}

// Fields of 0 are their defaults wherever they come from, Zero is 0, and a
// learning rate that nobody has set is refused.
func TestHyperZeroValues(t *testing.T) {
	dev := vktest.Open(t)
	init, grad := opstest.Uniform(1, 15, 1), opstest.Uniform(2, 15, 1)
	run := func(h optim.Hyper, later bool) state {
		p := newParams(t, dev, ops.F32, init)
		first := h
		if later {
			first = optim.DefaultHyper()
		}
		a := newOptimizer(t, p, &optim.Options{Groups: []optim.Group{{Params: p.All(), Hyper: first}}})
		a.Groups()[0].Hyper = h
		r := record(t, a, dev)
		for range 3 {
			setGrads(t, p, [][]float32{grad})
			r.run(t)
		}
		return stateOf(t, p, a)
	}
	want := run(optim.Hyper{LR: 2e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}, false)
	for _, later := range []bool{false, true} {
		run(optim.Hyper{LR: 2e-3, WeightDecay: 0.1}, later).sameBits(t, "defaults", want)
		exact := run(optim.Hyper{LR: 2e-3, Beta1: optim.Zero, Beta2: optim.Zero, Eps: optim.Zero}, later)
		sameBits(t, "with β1 = 0 the first moment", exact.m, grad)
		ref := newReference(ops.F32, init)
		for range 3 {
			ref.step([][]float32{grad}, opstest.AdamWOptions{LR: 2e-3})
		}
		near(t, "with β = (0, 0), ε = 0", exact.p, ref.p(), 2e-7)
		near(t, "with β2 = 0 the second moment", exact.v, ref.v(), 2e-7)
	}
	p := newParams(t, dev, ops.F32, init)
	a := newOptimizer(t, p, &optim.Options{Groups: []optim.Group{{Params: p.All(), Hyper: optim.Hyper{WeightDecay: 0.1}}}})
	r := record(t, a, dev)
	wantError(t, "no learning rate", r.Stage(r.step), "the learning rate of group 0 is 0: set Hyper.LR (to optim.Zero for 0), or call SetLR")
	a.SetLR(0) // as at the start of a warm-up
	must(t, r.Stage(r.step))
}

// One group without a rate is refused beside others that have one; a rate of Zero
// leaves its values as they are.
func TestRateOfEachGroup(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		for _, lr := range []float64{0, optim.Zero} {
			p := newParams(t, dev, dt, opstest.Uniform(1, 15, 1), opstest.Uniform(2, 15, 1))
			a := newOptimizer(t, p, &optim.Options{Groups: []optim.Group{
				{Params: p.All()[:1], Hyper: optim.DefaultHyper()}, {Params: p.All()[1:], Hyper: optim.Hyper{LR: lr, WeightDecay: 0.1}}}})
			r := record(t, a, dev)
			setGrads(t, p, [][]float32{opstest.Uniform(3, 15, 1), opstest.Uniform(4, 15, 1)})
			if lr == 0 {
				wantError(t, "a group without a rate", r.Stage(r.step), "the learning rate of group 1 is 0")
				continue
			}
			before := stateOf(t, p, a).master
			r.run(t)
			after := stateOf(t, p, a).master
			sameBits(t, "a group with a rate of Zero", after[15:], before[15:])
			if after[0] == before[0] {
				t.Error("the group with a rate did not move")
			}
		}
	}
}

// A factor that is not finite would make all gradients so.
func TestBackwardFactorIsFinite(t *testing.T) {
	dev := vktest.Open(t)
	for _, factor := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, o := range []*optim.Options{nil, {Scaler: &optim.Scaler{}}, {Accumulate: true}} {
			m := newTable(t, dev, ops.F32)
			a := newOptimizer(t, m.params, o)
			g := ops.NewGraph(dev)
			a.Backward(g, m.loss(t, g), float32(factor))
			wantError(t, "Backward", g.Err(), "backward: factor is "+strconv.FormatFloat(factor, 'g', -1, 64)+", want a finite number")
			g.Release()
		}
	}
}
