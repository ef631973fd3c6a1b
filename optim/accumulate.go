package optim

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// Backward appends the backward pass of factor·loss to g, from the loss scale
// on. With factor 1 it is what g.Backward(loss, nil) does, once the optimizer
// exists. Without Options.Accumulate it overwrites the gradients. With it the pass
// adds to what earlier ones left, and an update recorded in a graph of its own
// takes the sum: for the mean over k passes factor is 1/k. Sums are f32, so the
// order in which they are added up shows in their last bits: f32 parameters add
// each share of each pass to the sum as it is found; 16-bit ones round the
// gradient of a pass as they would without accumulation, and then add it.
func (a *Optimizer) Backward(g *ops.Graph, loss *ops.Tensor, factor float32) {
	if a.expect != 0 {
		g.Fail("backward", errors.New("an earlier pass was by BackwardSum: use it for all of them"))
		return
	}
	a.backward(g, loss, factor)
	a.plain = a.plain || g.Err() == nil
}

func (a *Optimizer) backward(g *ops.Graph, loss *ops.Tensor, factor float32) {
	if f := float64(factor); math.IsNaN(f) || math.IsInf(f, 0) {
		g.Fail("backward", fmt.Errorf("factor is %v, want a finite number", factor))
		return
	}
	o := &ops.BackwardOptions{Seed: g.Updater().AsF32(a.scaler), Accumulate: a.opts.Accumulate}
	switch {
	case factor == 1:
	case a.opts.Scaler == nil: // a constant is known before the loss is: cross-entropy writes loss and gradient in one pass
		o.Seed = constant(g, "factor", []float32{factor})
	default:
		o.Seed = g.Scale(o.Seed, factor)
	}
	if a.ownBackward() {
		o.Optimizer = a
	}
	for _, b := range a.banks {
		if b.sum != nil {
			o.Overwrite = append(o.Overwrite, b.set)
		}
	}
	g.Backward(loss, o)
	for _, b := range a.banks {
		if b.sum != nil {
			g.AddTo(b.Grads, b.sum)
		}
	}
}

// BackwardSum is Backward for a loss summed over count targets, both f32 scalars
// that [ops.Graph.CrossEntropySum] and the like return. The update divides by the
// number of targets that the passes before it counted, which leaves the gradient
// of the mean over all of them: also where some passes ignore more targets than
// others, or all. expect is how many targets a step counts when none is ignored;
// the gradients are divided by it at once, which keeps 16-bit ones in range, and
// by what is missing of it in the update. A step without any target updates
// nothing.
//
// It needs Options.Accumulate and comes before Record. All passes of an optimizer
// are by BackwardSum or none is.
func (a *Optimizer) BackwardSum(g *ops.Graph, sum, count *ops.Tensor, expect int) {
	switch {
	case !a.opts.Accumulate:
		g.Fail("backward sum", errors.New("want an optimizer with Options.Accumulate; the gradient of a single pass is that of its mean loss"))
	case expect < 1:
		g.Fail("backward sum", fmt.Errorf("%d targets expected, want at least 1", expect))
	case a.plain:
		g.Fail("backward sum", errors.New("an earlier pass was by Backward: use BackwardSum for all of them"))
	case a.recorded && a.expect == 0:
		g.Fail("backward sum", errors.New("the update was recorded before, which would not divide by the count: call BackwardSum first"))
	case a.expect != 0 && a.expect != expect:
		g.Fail("backward sum", fmt.Errorf("%d targets expected, by an earlier pass %d", expect, a.expect))
	}
	if g.Err() != nil {
		return
	}
	if a.counted == nil {
		var err error
		if a.counted, err = ops.Reserve(a.sets[0].Device(), ops.F32); err != nil {
			g.Fail("backward sum", err)
			return
		}
	}
	a.expect = expect
	g.AddTo(count, a.counted)
	a.backward(g, sum, 1/float32(expect))
}

// Submitted implements [ops.Optimizer].
func (a *Optimizer) Submitted(update bool) {
	a.passes++
	if update {
		a.passes = 0
	}
}

// Waiting returns of how many backward passes Options.Accumulate has added up the
// gradients since the last update.
func (a *Optimizer) Waiting() int64 {
	if !a.opts.Accumulate {
		return 0
	}
	return a.passes
}

// clearSums makes what passes add to zeros, where there is memory for it yet.
func (a *Optimizer) clearSums() error {
	a.passes = 0
	if !a.opts.Accumulate {
		return nil
	}
	g := ops.NewImmediate(a.sets[0].Device())
	defer g.Release()
	for _, t := range a.Gradients() {
		if t.Allocated() > 0 {
			g.Fill(t, 0)
		}
	}
	return g.Err()
}

// Counted returns how many targets the passes of BackwardSum have counted since
// the last update, an f32 scalar: what the sum of their losses is to be divided by.
// It is nil before the first.
func (a *Optimizer) Counted() *ops.Tensor { return a.counted }

// Gradients returns what the next update reads, for an all-reduce before it: an
// arena for each bank of each set, with what lies between its tensors, and what
// Counted returns, if it is there.
func (a *Optimizer) Gradients() (all []*ops.Tensor) {
	for _, b := range a.banks {
		all = append(all, b.grads())
	}
	if a.counted != nil {
		all = append(all, a.counted)
	}
	return all
}

// divide appends the division of the gradients by counted/expect. It costs a pass
// over them only where targets were ignored.
func (a *Optimizer) divide(g *ops.Graph, grads []measured) {
	share := g.Div(a.counted, constant(g, "expected targets", []float32{float32(a.expect)}))
	// Kernel clip makes the factor 1/scale for gradients under a loss scale. With no
	// partial norms and no limit it does nothing else, so that share in place of the
	// scale gives the division.
	ctrl := constant(g, "no limit", []float32{-1, 0, 0, 1, 1, 0, 0, 0}, 8)
	factor := g.New(ops.F32, 4)
	g.Dispatch("divide gradients", ops.Call{Kernel: "clip", Groups: 1, Push: struct{ Partials, Flags uint32 }{},
		Args: []*ops.Tensor{ctrl, ctrl, share, g.Updater().Status(), factor}})
	scaleGrads(g, grads, factor)
	g.Fill(a.counted, 0)
}

// constant returns an input that holds v.
func constant(g *ops.Graph, name string, v []float32, shape ...int) *ops.Tensor {
	t := g.Input(name, ops.F32, shape...)
	if g.Err() == nil {
		if err := ops.Upload(context.Background(), t, v); err != nil {
			g.Fail(name, err)
		}
	}
	return t
}

// ownBackward reports whether the update needs a backward pass of its own.
func (a *Optimizer) ownBackward() bool { return a.opts.Scaler != nil || a.opts.Accumulate }
