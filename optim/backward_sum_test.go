package optim_test

import (
	"fmt"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// Batches that ignore one, none, all and most of their targets have the gradient
// of one batch of them all: the mean over the targets that count, in float64.
func TestBackwardSumIsOneLargeBatch(t *testing.T) {
	dev := vktest.Open(t)
	const v, n, ignore = 7, 9, -100
	var ids, targets [][]int32
	for pass, ignored := range []int{1, 0, n, n - 2} {
		ids, targets = append(ids, opstest.IDs(uint32(pass), n, v)), append(targets, opstest.IDs(uint32(10+pass), n, v))
		for i := range ignored {
			targets[pass][i] = ignore
		}
	}
	for _, dt := range storage {
		for _, scaler := range []*optim.Scaler{nil, {Init: 1024}} {
			t.Run(fmt.Sprint(dt, " scaling=", scaler != nil), func(t *testing.T) {
				init := opstest.Round(dt.String(), opstest.Uniform(3, v*v, 2))
				p := ops.NewParams(dev, dt)
				e := p.Add("table", v, v)
				must(t, p.Alloc())
				t.Cleanup(p.Release)
				must(t, ops.Upload(ctx, e, init))
				a := newOptimizer(t, p, &optim.Options{Scaler: scaler, Accumulate: true, MaxNorm: new(1e9),
					Groups: []optim.Group{{Params: p.All(), Hyper: optim.Hyper{Beta1: optim.Zero}}}})
				a.SetLR(0)
				total, err := ops.NewTensor(dev, ops.F32)
				must(t, err)
				t.Cleanup(total.Release)

				g := ops.NewGraph(dev)
				x, y := g.Input("x", ops.I32, n), g.Input("y", ops.I32, n)
				sum, count := g.CrossEntropySum(g.Embed(e, x), y, &ops.CrossEntropyOptions{IgnoreIndex: new(ignore)})
				g.AddTo(sum, total)
				a.BackwardSum(g, sum, count, len(ids)*n)
				pass, err := g.Compile()
				must(t, err)
				t.Cleanup(func() { must(t, pass.Close()) })
				g = ops.NewGraph(dev)
				loss := g.Div(total, a.Counted())
				g.Fill(total, 0)
				g.Output(loss)
				update := recording{Update: a.Record(g)}
				update.step, err = g.Compile()
				must(t, err)
				t.Cleanup(func() { must(t, update.step.Close()) })

				step := func(passes []int) {
					t.Helper()
					for _, k := range passes {
						must(t, ops.Upload(ctx, x, ids[k]))
						must(t, ops.Upload(ctx, y, targets[k]))
						must(t, pass.Run())
					}
					update.run(t)
				}
				for _, passes := range [][]int{{0, 1, 2, 3}, {1, 1, 1, 1}, {3, 2, 2, 2}} {
					step(passes)
					var allIDs, allTargets []int32
					for _, k := range passes {
						allIDs, allTargets = append(allIDs, ids[k]...), append(allTargets, targets[k]...)
					}
					id := int32(ignore)
					r := opstest.CrossEntropy64(opstest.Embed64(init, allIDs, v), allTargets, v, opstest.CrossEntropyOptions{Ignore: &id})
					want := opstest.EmbedBackward64(r.Grad, allIDs, v, v)
					tol := max(1e-6, opstest.Epsilon(dt.String()))
					m, _, _ := moments(a, e)
					near(t, fmt.Sprint("gradient of passes ", passes), download(t, m), want, tol)
					norm, err := update.Norm(ctx)
					must(t, err)
					if e := opstest.RelErr(norm, opstest.Norm64(want)); !(e <= tol) {
						t.Errorf("norm of passes %v is %v, off by %.3g", passes, norm, e)
					}
					l, err := ops.Item(ctx, loss)
					must(t, err)
					if e := opstest.RelErr(float64(l), r.Loss); !(e <= 2e-6) {
						t.Errorf("loss of passes %v is %v, want %v", passes, l, r.Loss)
					}
				}
				before := stateOf(t, p, a)
				step([]int{2, 2, 2, 2}) // nothing counts
				stateOf(t, p, a).sameBits(t, "after a step without targets", before)
				if skipped, err := update.Skipped(ctx); err != nil || !skipped {
					t.Errorf("the step without targets was not skipped (%v)", err)
				}
			})
		}
	}
}

func TestBackwardSumErrors(t *testing.T) {
	dev := vktest.Open(t)
	m := newTable(t, dev, ops.F32)
	plain := newOptimizer(t, m.params, nil)
	a := newOptimizer(t, m.params, &optim.Options{Accumulate: true})
	recorded := newOptimizer(t, m.params, &optim.Options{Accumulate: true})
	record(t, recorded, dev)
	meant := newOptimizer(t, m.params, &optim.Options{Accumulate: true})
	before := ops.NewGraph(dev)
	meant.Backward(before, m.loss(t, before), 1)
	must(t, before.Err())
	t.Cleanup(before.Release)
	for _, c := range []struct {
		name string
		call func(g *ops.Graph, sum, count *ops.Tensor)
		want string
	}{
		{"not accumulating", func(g *ops.Graph, sum, count *ops.Tensor) { plain.BackwardSum(g, sum, count, 9) }, "Options.Accumulate"},
		{"no targets", func(g *ops.Graph, sum, count *ops.Tensor) { a.BackwardSum(g, sum, count, 0) }, "0 targets expected"},
		{"after Record", func(g *ops.Graph, sum, count *ops.Tensor) { recorded.BackwardSum(g, sum, count, 9) }, "call BackwardSum first"},
		{"", func(g *ops.Graph, sum, count *ops.Tensor) { a.BackwardSum(g, sum, count, 9) }, ""},
		{"another number", func(g *ops.Graph, sum, count *ops.Tensor) { a.BackwardSum(g, sum, count, 8) }, "by an earlier pass 9"},
		{"mixed with Backward before", func(g *ops.Graph, sum, count *ops.Tensor) { meant.BackwardSum(g, sum, count, 9) }, "use BackwardSum for all of them"},
		{"mixed with Backward", func(g *ops.Graph, sum, count *ops.Tensor) { a.Backward(g, sum, 1) }, "use it for all of them"},
	} {
		g := ops.NewGraph(dev)
		m.loss(t, g)
		sum, count := g.CrossEntropySum(g.Embed(m.e, m.ids), m.targets, nil)
		c.call(g, sum, count)
		if c.want == "" {
			must(t, g.Err())
		} else {
			wantError(t, c.name, g.Err(), c.want)
		}
		g.Release()
	}
}
