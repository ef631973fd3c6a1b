package optim

import "github.com/lemnos-ml/lemnos/ops"

// LossScale returns the f32 scalar on the device that the gradient of the loss
// must start from: ops.BackwardOptions.Seed. It is 1 without a Scaler.
func (a *AdamW) LossScale() *ops.Tensor { return a.scaler.AsF32() }

// Backward appends the backward pass of factor·loss to g, from the loss scale
// on. Without Options.Accumulate it overwrites the gradients. With it the pass
// adds to what earlier ones left, and an update recorded in a graph of its own
// takes the sum: for the mean over k passes factor is 1/k. Sums are f32, so the
// order in which they are added up shows in their last bits: f32 parameters add
// each share of each pass to the sum as it is found; 16-bit ones round the
// gradient of a pass as they would without accumulation, and then add it.
func (a *AdamW) Backward(g *ops.Graph, loss *ops.Tensor, factor float32) {
	seed := a.LossScale()
	if factor != 1 {
		seed = g.Scale(seed, factor)
	}
	inPlace := a.opts.Accumulate && a.params.DType() == ops.F32
	g.Backward(loss, &ops.BackwardOptions{Seed: seed, Accumulate: inPlace})
	for b, mo := range a.banks {
		if mo.sum != nil {
			g.AddTo(a.params.Banks()[b].Grads, mo.sum)
		}
	}
}

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
