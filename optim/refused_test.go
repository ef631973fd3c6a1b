package optim_test

import (
	"errors"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// Norm and Skipped of a step that met a bad token have its error, as often as they are
// asked and behind it too, until a step went well. The state is right throughout: it has
// the steps that were taken and the skips.
func TestReadsOfARefusedUpdate(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		m := newTable(t, dev, dt)
		a := newOptimizer(t, m.params, &optim.Options{MaxNorm: new(1.0), Scaler: &optim.Scaler{Init: 16}})
		g := ops.NewGraph(dev)
		g.Backward(m.loss(t, g), nil)
		u := a.Record(g)
		step, err := g.Compile()
		must(t, err)
		t.Cleanup(func() { must(t, step.Close()) })
		feed := func(bad bool) {
			ids := opstest.IDs(1, 9, 6)
			if bad {
				ids[4] = 6
			}
			must(t, ops.Upload(ctx, m.ids, ids))
			recording{u, step}.run(t)
		}
		isBad := func(what string, err error) {
			t.Helper()
			if bad, ok := errors.AsType[*ops.BadIndexError](err); !ok || bad.Position != 4 || bad.Value != 6 {
				t.Errorf("%s, %s: error %v, want index 6 at position 4", dt, what, err)
			}
		}
		count := func(steps int64, skips uint32) {
			t.Helper()
			if s, err := a.State(ctx); err != nil || s.Steps["table"] != steps || s.Skips != skips || s.Scale != 16 {
				t.Errorf("%s: state %+v, %v, want %d steps, %d skips and scale 16", dt, s, err, steps, skips)
			}
		}
		feed(false)
		before := stateOf(t, m.params, a)
		feed(true)
		feed(false) // staged before anybody knows
		for range 2 {
			_, err = u.Norm(ctx)
			isBad("Norm", err)
			_, err = u.Skipped(ctx)
			isBad("Skipped", err)
			isBad("Wait", step.Wait(ctx))
		}
		stateOf(t, m.params, a).sameBits(t, "after two refused steps", before)
		feed(true)
		_, err = u.Skipped(ctx)
		isBad("Skipped", err)
		stateOf(t, m.params, a).sameBits(t, "after a third", before)
		count(1, 3)
		feed(false)
		norm, err := u.Norm(ctx)
		must(t, err)
		skipped, err := u.Skipped(ctx)
		must(t, err)
		if !(norm > 0) || skipped {
			t.Errorf("%s: norm %v, skipped %v, want a step", dt, norm, skipped)
		}
		count(2, 3)
		must(t, step.Wait(ctx))
	}
}
