package optim_test

import (
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// adapted is a small network whose second layer may be frozen: the loss is
// cross-entropy of head·(base·(in·x)).
type adapted struct {
	in, base, head    *ops.Params
	wIn, wBase, wHead *ops.Tensor
}

func newAdapted(t *testing.T, dev *vk.Device, in, base, head ops.DType) *adapted {
	const n = 16
	m := &adapted{in: ops.NewParams(dev, in), base: ops.NewParams(dev, base), head: ops.NewParams(dev, head)}
	m.wIn, m.wBase, m.wHead = m.in.Add("in", n, n), m.base.Add("base", n, n), m.head.Add("head", n, n)
	for i, p := range []*ops.Params{m.in, m.base, m.head} {
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		must(t, ops.Upload(ctx, p.All()[0], opstest.Uniform(uint32(50+i), n*n, 1)))
	}
	return m
}

func (m *adapted) sets() []*ops.Params { return []*ops.Params{m.in, m.base, m.head} }

// loss appends the loss of a fixed batch, computed in f32.
func (m *adapted) loss(t *testing.T, g *ops.Graph) *ops.Tensor {
	x, y := g.Input("x", ops.F32, 8, 16), g.Input("y", ops.I32, 8)
	must(t, ops.Upload(ctx, x, opstest.Uniform(60, 8*16, 1)))
	must(t, ops.Upload(ctx, y, opstest.IDs(61, 8, 16)))
	layer := func(x, w *ops.Tensor) *ops.Tensor { return g.Linear(x, g.Cast(w, ops.F32), nil) }
	return g.CrossEntropy(layer(layer(layer(x, m.wIn), m.wBase), m.wHead), y, nil)
}

// A frozen set has no gradient and no state; what feeds into it has the gradient
// that it has when nothing is frozen, to the bit.
func TestFrozenSet(t *testing.T) {
	dev := vktest.Open(t)
	gradients := func(freeze bool) (*adapted, []float32) {
		m := newAdapted(t, dev, ops.F32, ops.F32, ops.F32)
		if freeze {
			m.base.Freeze()
			if m.base.Grad(m.wBase) != nil || m.base.Banks()[0].Grads != nil {
				t.Error("a frozen set has a gradient")
			}
		}
		g := ops.NewGraph(dev)
		g.Backward(m.loss(t, g), nil)
		step, err := g.Compile()
		must(t, err)
		defer step.Close()
		must(t, step.Run())
		must(t, step.Wait(ctx))
		return m, append(download(t, m.in.Grad(m.wIn)), download(t, m.head.Grad(m.wHead))...)
	}
	_, want := gradients(false)
	m, got := gradients(true)
	sameBits(t, "gradients around a frozen layer", got, want)

	a, err := optim.New(nil, m.sets()...)
	must(t, err)
	if got, want := a.Bytes(), int64(2*2*16*16*4+16); got != want {
		t.Errorf("%d bytes of state, want %d", got, want)
	}
	if s := a.Slots(m.wBase); s != nil {
		t.Errorf("a frozen parameter has state: %v", s)
	}
	a.Release()
	for _, c := range []struct {
		sets   []*ops.Params
		groups []optim.Group
		want   string
	}{
		{[]*ops.Params{m.base}, nil, "no parameter set that is not frozen"},
		{nil, nil, "no parameter set that is not frozen"},
		{[]*ops.Params{m.in, nil}, nil, "no parameter set"},
		{[]*ops.Params{m.in, m.in}, nil, "given twice"},
		{[]*ops.Params{m.in, newAdapted(t, dev, ops.F32, ops.F32, ops.F32).in}, nil, `parameter "in" is in two sets`},
		{m.sets(), []optim.Group{{Params: []*ops.Tensor{m.wIn, m.wBase}, Hyper: optim.DefaultHyper()}}, "group 0: base f32[16 16] is not a parameter"},
	} {
		_, err := optim.New(&optim.Options{Groups: c.groups}, c.sets...)
		wantError(t, c.want, err, c.want)
	}
	late := newAdapted(t, dev, ops.F32, ops.F32, ops.F32)
	b := newOptimizer(t, late.in, nil)
	late.in.Freeze()
	g := ops.NewGraph(dev)
	defer g.Release()
	b.Record(g)
	wantError(t, "frozen after the optimizer was made", g.Err(), "frozen")
}

// Several sets of different types under different rules: one norm over all of them
// clips all of them, and each moves as its rule says, also when the gradients of
// passes are added up.
func TestSetsShareOneNorm(t *testing.T) {
	dev := vktest.Open(t)
	const maxNorm = 0.05
	for _, passes := range []int{1, 2} {
		m := newAdapted(t, dev, ops.F32, ops.BF16, ops.F16)
		a := newOptimizerOf(t, &optim.Options{MaxNorm: new(maxNorm), Accumulate: passes > 1, Groups: []optim.Group{
			{Params: []*ops.Tensor{m.wIn}, Hyper: optim.Hyper{LR: 1e-2}},
			{Params: []*ops.Tensor{m.wBase}, Rule: optim.SGD{}, Hyper: optim.Hyper{LR: 1}},
			{Params: []*ops.Tensor{m.wHead}, Rule: optim.Lion{}, Hyper: optim.Hyper{LR: 1e-2}},
		}}, m.sets()...)
		pass := ops.NewGraph(dev)
		loss := m.loss(t, pass)
		a.Backward(pass, loss, 1/float32(passes))
		g := pass
		if passes > 1 {
			g = ops.NewGraph(dev)
		}
		u := a.Record(g)
		before := [][]float32{download(t, m.wIn), download(t, m.wBase), download(t, m.wHead)}
		step, err := pass.Compile()
		must(t, err)
		defer step.Close()
		apply := step
		if g != pass {
			apply, err = g.Compile()
			must(t, err)
			defer apply.Close()
			for range passes {
				must(t, step.Run())
			}
		}
		must(t, u.Stage(apply))
		must(t, apply.Run())

		// The gradients of one pass, by themselves.
		other := newAdapted(t, dev, ops.F32, ops.BF16, ops.F16)
		g = ops.NewGraph(dev)
		g.Backward(other.loss(t, g), nil)
		alone, err := g.Compile()
		must(t, err)
		defer alone.Close()
		must(t, alone.Run())
		must(t, alone.Wait(ctx))
		var grads [][]float32
		squares := 0.0
		for _, p := range other.sets() {
			v := download(t, p.Grad(p.All()[0]))
			for _, x := range v {
				squares += float64(x) * float64(x)
			}
			grads = append(grads, v)
		}
		norm, err := u.Norm(ctx)
		must(t, err)
		if want := math.Sqrt(squares); math.Abs(norm-want) > 1e-3*want || want < 2*maxNorm {
			t.Errorf("%d passes: norm %v, want %v and more than %v", passes, norm, want, maxNorm)
		}
		moved := func(w *ops.Tensor, i int) []float32 {
			v := download(t, w)
			if master := a.Master(w); master != nil {
				v = download(t, master)
			}
			for j := range v {
				v[j] -= before[i][j]
			}
			return v
		}
		sgd, lion, adamw := make([]float64, 256), make([]float64, 256), make([]float64, 256)
		for j := range sgd {
			sgd[j] = -float64(grads[1][j]) * maxNorm / math.Sqrt(squares)
			lion[j] = -math.Copysign(1e-2, float64(grads[2][j]))
			adamw[j] = -math.Copysign(1e-2, float64(grads[0][j])) // its first step
		}
		near(t, "AdamW's set", moved(m.wIn, 0), adamw, 1e-2)
		near(t, "SGD's set", moved(m.wBase, 1), sgd, 1e-2)
		near(t, "Lion's set", moved(m.wHead, 2), lion, 1e-3)
	}
}

// ownRule is a rule from outside the package, on a kernel that is there.
type ownRule struct {
	optim.SGD
	_ []string // can not be compared
}

func (ownRule) Name() string { return "own" }

// A rule of one's own is a rule, if it is a value that can be compared.
func TestRuleFromOutside(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, []float32{1, 2, 3})
	_, err := optim.New(&optim.Options{Rule: ownRule{}}, p)
	wantError(t, "a rule with a slice", err, "group 0: rule own is a optim_test.ownRule, which can't be compared")
	a := newOptimizerOf(t, &optim.Options{Rule: &ownRule{}, Groups: []optim.Group{{Params: p.All(), Hyper: optim.Hyper{LR: 1}}}}, p)
	setGrads(t, p, [][]float32{{1, 0, -1}})
	record(t, a, dev).run(t)
	sameBits(t, "values", download(t, p.All()[0]), []float32{0, 2, 4})
	if s := a.Slots(p.All()[0]); len(s) != 1 || s[0].Name != "own.m" {
		t.Errorf("slots %v", s)
	}
}

func newOptimizerOf(t *testing.T, o *optim.Options, sets ...*ops.Params) *optim.Optimizer {
	t.Helper()
	a, err := optim.New(o, sets...)
	must(t, err)
	t.Cleanup(a.Release)
	return a
}
