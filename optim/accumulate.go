package optim

import "github.com/lemnos-ml/lemnos/ops"

// Backward appends the backward pass of factor·loss to g, from the loss scale
// on. With factor 1 it is what g.Backward(loss, nil) does, once the optimizer
// exists. Without Options.Accumulate it overwrites the gradients. With it the pass
// adds to what earlier ones left, and an update recorded in a graph of its own
// takes the sum: for the mean over k passes factor is 1/k. Sums are f32, so the
// order in which they are added up shows in their last bits: f32 parameters add
// each share of each pass to the sum as it is found; 16-bit ones round the
// gradient of a pass as they would without accumulation, and then add it.
func (a *AdamW) Backward(g *ops.Graph, loss *ops.Tensor, factor float32) {
	o := &ops.BackwardOptions{Seed: a.scaler.AsF32(), Accumulate: a.opts.Accumulate && a.params.DType() == ops.F32}
	if factor != 1 {
		o.Seed = g.Scale(o.Seed, factor)
	}
	if a.ownBackward() {
		o.Optimizer = a
	}
	g.Backward(loss, o)
	for b, mo := range a.banks {
		if mo.sum != nil {
			g.AddTo(a.params.Banks()[b].Grads, mo.sum)
		}
	}
}

// ownBackward reports whether the update needs a backward pass of its own.
func (a *AdamW) ownBackward() bool { return a.opts.Scaler != nil || a.opts.Accumulate }

// gradients returns what an update reads, an arena per bank.
func (a *AdamW) gradients() []*ops.Tensor {
	grads := bankGrads(a.params)
	for b, mo := range a.banks {
		if mo.sum != nil {
			grads[b] = mo.sum
		}
	}
	return grads
}

// bankGrads lists the gradient arenas of p.
func bankGrads(p *ops.Params) []*ops.Tensor {
	var grads []*ops.Tensor
	for _, b := range p.Banks() {
		grads = append(grads, b.Grads)
	}
	return grads
}
