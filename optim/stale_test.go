package optim_test

import (
	"fmt"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// An update in a graph of its own takes gradients that no update has taken: without a
// pass before it, or with the last one's, it would move parameters by what is no gradient
// of theirs. What the host uploads is its own affair.
func TestUpdateNeedsNewGradients(t *testing.T) {
	const want = "ops: run: there are no gradients that no update has used: run the backward pass before each update"
	dev := vktest.Open(t)
	for name, o := range map[string]*optim.Options{"plain": nil, "scaled": {Scaler: &optim.Scaler{}}, "accumulated": {Accumulate: true}} {
		for _, dt := range storage {
			m := newTable(t, dev, dt)
			a := newOptimizer(t, m.params, o)
			build := func(backward func(g *ops.Graph, loss *ops.Tensor)) *ops.Step {
				g := ops.NewGraph(dev)
				backward(g, m.loss(t, g))
				step, err := g.Compile()
				must(t, err)
				t.Cleanup(func() { must(t, step.Close()) })
				return step
			}
			r, other := record(t, a, dev), record(t, a, dev)
			pass := build(func(g *ops.Graph, loss *ops.Tensor) { g.Backward(loss, nil) })
			refused := func(when string, r recording) {
				t.Helper()
				before := stateOf(t, m.params, a)
				must(t, r.Stage(r.step))
				wantError(t, fmt.Sprintf("%s, %v, %s", name, dt, when), r.step.Run(), want)
				stateOf(t, m.params, a).sameBits(t, when, before)
			}
			if o == nil || !o.Accumulate { // which begins with zeros of its own
				refused("before the first pass", r)
			}
			for range 2 {
				must(t, pass.Run())
				r.run(t)
				refused("again", r)
				refused("another recording", other)
			}
			whole := ops.NewGraph(dev)
			whole.Backward(m.loss(t, whole), nil)
			u := a.Record(whole)
			step, err := whole.Compile()
			must(t, err)
			recording{u, step}.run(t)
			must(t, step.Close())
			refused("after a step with both", r)
			now := ops.NewImmediate(dev)
			now.Backward(m.loss(t, now), nil)
			must(t, now.Err())
			r.run(t)
			refused("after an immediate pass", r)
			now.Release()
			for range 2 {
				must(t, ops.Upload(ctx, m.params.Grad(m.e), make([]float32, 36)))
				r.run(t)
				r.run(t)
			}
			s, err := a.State(ctx)
			must(t, err)
			if s.Steps["table"] != 8 {
				t.Errorf("%s, %v: %d steps are counted, want 8", name, dt, s.Steps["table"])
			}
		}
	}
}

// Two recordings for a part of the parameters each share a pass.
func TestUpdatesOfPartsShareAPass(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, make([]float32, 4), make([]float32, 4))
	a := newOptimizer(t, p, nil)
	first, second := record(t, a, dev, p.All()[0]), record(t, a, dev, p.All()[1])
	g := ops.NewGraph(dev)
	g.Backward(g.Sum(g.Mul(p.All()[0], g.Scale(p.All()[1], 2))), nil)
	pass, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { must(t, pass.Close()) })
	for range 2 {
		must(t, pass.Run())
		first.run(t)
		second.run(t)
		for _, r := range []recording{first, second} {
			must(t, r.Stage(r.step))
			wantError(t, "again", r.step.Run(), "no gradients that no update has used")
		}
	}
}
