package optim_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// ruleTest is a rule with its reference: step changes the values w and moments m of
// a tensor by its gradient g, in float64. Clipping, skipping and the rest that all
// rules share is no part of it.
type ruleTest struct {
	rule   optim.Rule
	shapes [][]int // of the tensors; they belong to the groups in turn
	groups []optim.Hyper
	step   func(w, g []float64, m [][]float64, shape []int, h optim.Hyper)
	tol    float64 // relative, L2, for values and moments
	tol16  float64 // for values in 16 bits, where that is another
}

// run is an optimizer with its parameters and the reference's.
type ruleRun struct {
	*ruleTest
	p    *ops.Params
	a    *optim.Optimizer
	u    recording
	w    [][]float64   // per tensor
	m    [][][]float64 // per tensor and moment
	took int
}

const ruleMaxNorm = 2.0

func (c *ruleTest) start(t *testing.T, dev *vk.Device, dt ops.DType) *ruleRun {
	r := &ruleRun{ruleTest: c, p: ops.NewParams(dev, dt)}
	for i, shape := range c.shapes {
		r.p.Add(fmt.Sprint("p", i), shape...)
	}
	must(t, r.p.Alloc())
	t.Cleanup(r.p.Release)
	groups := make([]optim.Group, len(c.groups))
	for i, x := range r.p.All() {
		init := opstest.Round(dt.String(), opstest.Uniform(uint32(100+i), x.Len(), 1))
		must(t, ops.Upload(ctx, x, init))
		g := &groups[i%len(groups)]
		g.Params, g.Hyper = append(g.Params, x), c.groups[i%len(groups)]
		r.w = append(r.w, opstest.F64(init))
		r.m = append(r.m, nil)
		for range c.rule.Moments() {
			r.m[i] = append(r.m[i], make([]float64, x.Len()))
		}
	}
	r.a = newOptimizer(t, r.p, &optim.Options{Rule: c.rule, Groups: groups, MaxNorm: new(ruleMaxNorm)})
	r.u = record(t, r.a, dev)
	return r
}

// grads are those of a step, from 0; in step 3 one is infinite.
func (r *ruleRun) grads(step int) (all [][]float32) {
	for i, x := range r.p.All() {
		g := opstest.Uniform(uint32(1000*(1+step)+i), x.Len(), float32(math.Ldexp(1, -3*i)))
		if step == 3 && i == 0 {
			g[0] = inf
		}
		all = append(all, opstest.Round(r.p.DType().String(), g))
	}
	return all
}

// run takes a step on the device and, unless it is to be skipped, in the reference.
func (r *ruleRun) run(t *testing.T, step int) {
	t.Helper()
	all := r.grads(step)
	for i, x := range r.p.All() {
		must(t, ops.Upload(ctx, r.p.Grad(x), all[i]))
	}
	r.u.run(t)
	norm := 0.0
	for _, g := range all {
		for _, v := range g {
			norm += float64(v) * float64(v)
		}
	}
	if norm = math.Sqrt(norm); math.IsInf(norm, 1) {
		return
	}
	for i, x := range r.p.All() {
		g := opstest.F64(all[i])
		if norm > ruleMaxNorm {
			for j := range g {
				g[j] *= ruleMaxNorm / (norm + 1e-6)
			}
		}
		h, d := r.groups[i%len(r.groups)], r.rule.Defaults()
		for _, f := range []struct{ v, def *float64 }{{&h.Beta1, &d.Beta1}, {&h.Beta2, &d.Beta2}, {&h.Eps, &d.Eps}} {
			if *f.v == 0 {
				*f.v = *f.def
			}
		}
		r.step(r.w[i], g, r.m[i], x.Shape(), h)
	}
	r.took++
}

func (r *ruleRun) check(t *testing.T) {
	t.Helper()
	dt := r.p.DType()
	for i, x := range r.p.All() {
		slots := r.a.Slots(x)
		for j, m := range r.m[i] {
			near(t, fmt.Sprintf("%s of %v", slots[j].Title, x), download(t, slots[j].Tensor), m, r.tol)
		}
		master := x
		if dt != ops.F32 {
			master = r.a.Master(x)
			sameBits(t, fmt.Sprintf("stored %v", x), download(t, x), opstest.Round(dt.String(), download(t, master)))
		}
		tol := r.tol
		if dt != ops.F32 && r.tol16 != 0 {
			tol = r.tol16
		}
		near(t, fmt.Sprint(x), download(t, master), r.w[i], tol)
	}
	s, err := r.a.State(ctx)
	must(t, err)
	if s.Steps["p0"] != int64(r.took) {
		t.Errorf("%d steps counted, want %d", s.Steps["p0"], r.took)
	}
}

// bits is everything on the device that the run depends on.
func (r *ruleRun) bits(t *testing.T) (all []float32) {
	for _, x := range r.p.All() {
		all = append(all, download(t, x)...)
		for _, s := range r.a.Slots(x) {
			all = append(all, download(t, s.Tensor)...)
		}
	}
	return all
}

// test holds a rule to its reference in every storage type, with clipping and a
// step that is skipped, and a run that is taken down and set up again to the bits
// of one that is not.
func (c *ruleTest) test(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		t.Run(dt.String(), func(t *testing.T) {
			whole, first := c.start(t, dev, dt), c.start(t, dev, dt)
			for k := range 6 {
				whole.run(t, k)
			}
			whole.check(t)
			for k := range 4 {
				first.run(t, k)
			}
			saved, err := first.a.State(ctx)
			must(t, err)
			second := c.start(t, dev, dt)
			second.run(t, 9) // it has even run before
			for i, x := range first.p.All() {
				y := second.p.All()[i]
				must(t, ops.Upload(ctx, y, download(t, x)))
				for j, s := range first.a.Slots(x) {
					must(t, ops.Upload(ctx, second.a.Slots(y)[j].Tensor, download(t, s.Tensor)))
				}
			}
			must(t, second.a.SetState(ctx, saved))
			for k := 4; k < 6; k++ {
				second.run(t, k)
			}
			sameBits(t, "resumed", second.bits(t), whole.bits(t))
		})
	}
}

// goldens holds rules to the trajectories in testdata/rules.json.
func goldens(t *testing.T, rules map[string]optim.Rule, tol float64) {
	dev := vktest.Open(t)
	ran := 0
	for _, c := range opstest.RuleCases(t) {
		rule, ours := rules[c.Rule]
		if !ours {
			continue
		}
		ran++
		t.Run(c.String(), func(t *testing.T) {
			p := ops.NewParams(dev, ops.F32)
			x := p.Add("w", c.Rows, c.Cols)
			must(t, p.Alloc())
			t.Cleanup(p.Release)
			must(t, ops.Upload(ctx, x, c.Init()))
			a := newOptimizer(t, p, &optim.Options{Rule: rule, Groups: []optim.Group{{Params: p.All(),
				Hyper: optim.Hyper{LR: c.LR, Beta1: c.Betas[0], Beta2: c.Betas[1], WeightDecay: c.Decay}}}})
			u := record(t, a, dev)
			for step := range c.Steps {
				must(t, ops.Upload(ctx, p.Grad(x), c.Grad(step)))
				u.run(t)
			}
			opstest.CheckL2(t, "parameter", download(t, x), c.P, tol)
			opstest.CheckL2(t, "first moment", download(t, a.Slots(x)[0].Tensor), c.M, tol)
		})
	}
	if ran < len(rules) {
		t.Errorf("%d golden cases for %d rules", ran, len(rules))
	}
}

// nameless is a rule whose name is "" or another's.
type nameless struct {
	optim.Lion
	name string
}

func (n nameless) Name() string { return n.name }

// A rule has a name that no other has, as checkpoints tell them apart by it.
func TestRegisterRefuses(t *testing.T) {
	before := len(optim.Rules())
	for _, name := range []string{"", "adamw"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a rule was registered as %q", name)
				}
			}()
			optim.Register(nameless{name: name})
		}()
	}
	if n := len(optim.Rules()); n != before {
		t.Errorf("there are %d rules, before there were %d", n, before)
	}
}
