package ops

import "slices"

// BackwardOptions changes what Backward does; nil means the defaults.
type BackwardOptions struct {
	// Seed is d loss: an f32 scalar on the device, by default 1. A loss scale or
	// the 1/k of gradient accumulation goes here.
	Seed *Tensor
	// Accumulate adds to the gradients that the parameters' arena holds instead
	// of overwriting them.
	Accumulate bool
}

// record puts an operation on the tape: back receives d out and must hand
// every input its share with grad or addGrad.
func (g *Graph) record(op string, out *Tensor, back func(dy *Tensor), inputs ...*Tensor) {
	if g.err != nil || !slices.ContainsFunc(inputs, g.wants) {
		return
	}
	g.needs[out] = true
	g.tape = append(g.tape, tapeEntry{op: op, where: caller(), out: out, back: back})
}

// wants reports whether a gradient with respect to t is of any use.
func (g *Graph) wants(t *Tensor) bool { return t.param != nil && t.param.grad != nil || g.needs[t] }

// RequireGrad asks Backward for the gradient of t too, a tensor that is not a
// parameter. Call it before the operations that read t.
func (g *Graph) RequireGrad(t *Tensor) {
	if g.ok("require grad", t) {
		g.needs[t] = true
	}
}

// Grad returns the gradient that Backward found for t, or nil. Gradients of
// parameters live in the parameter arena, others are intermediates.
func (g *Graph) Grad(t *Tensor) *Tensor { return g.grads[t] }

// Backward appends the operations that compute d loss / d p for every parameter
// p that loss, an f32 scalar, depends on. The others' gradients are not touched.
func (g *Graph) Backward(loss *Tensor, o *BackwardOptions) {
	if o == nil {
		o = &BackwardOptions{}
	}
	if !g.ok("backward", loss) {
		return
	}
	if !g.check(loss.dtype == F32 && loss.Len() == 1, "backward", "loss is %v, want one f32 value", loss) ||
		!g.check(g.needs[loss], "backward", "no parameter feeds into the loss") ||
		!g.check(len(g.grads) == 0, "backward", "called twice on one graph") {
		return
	}
	seed := o.Seed
	if seed == nil {
		seed = g.constant(1)
	}
	if !g.ok("backward", seed) || !g.check(seed.dtype == F32 && seed.Len() == 1, "backward", "seed is %v, want one f32 value", seed) {
		return
	}
	g.accumulate = o.Accumulate
	g.grads[loss] = seed
	for _, e := range slices.Backward(g.tape) {
		if dy := g.grads[e.out]; dy != nil {
			e.back(dy)
		}
	}
}

// Reached lists the parameters that have a gradient in this graph, in the order
// Backward reached them.
func (g *Graph) reached(p *Params) []*Tensor {
	var ts []*Tensor
	for _, t := range p.list {
		if g.grads[t] != nil {
			ts = append(ts, t)
		}
	}
	return ts
}

// Reached returns the parameters of p for which Backward found a gradient.
func (g *Graph) Reached(p *Params) []*Tensor { return g.reached(p) }

// grad returns the tensor that the gradient of x is to be written to, and
// whether it must be added to what is there. For kernels that can add.
func (g *Graph) grad(x *Tensor) (dx *Tensor, add bool) {
	if dx = g.grads[x]; dx != nil {
		return dx, true
	}
	if x.param != nil {
		g.grads[x] = x.param.grad
		return x.param.grad, g.accumulate
	}
	dx = g.New(x.dtype, x.shape...)
	g.grads[x] = dx
	return dx, false
}

// addGrad gives x its share dx of the gradient, an intermediate already
// computed. For operations whose kernels cannot add.
func (g *Graph) addGrad(x, dx *Tensor) {
	if !g.wants(x) {
		return
	}
	if x.param == nil && g.grads[x] == nil {
		g.grads[x] = dx
		return
	}
	dst, add := g.grad(x)
	if add {
		// An earlier share may also be somebody else's gradient (Add hands one
		// tensor to both sides), so the sum of intermediates goes to a new one.
		sum := dst
		if x.param == nil {
			sum = g.New(x.dtype, x.shape...)
			g.grads[x] = sum
		}
		g.add("add gradient", g.elementwise("add", dst.dtype.String(), dst, dst, dx, sum))
		return
	}
	g.add("store gradient", g.copyCall(dx, dst))
}

// constant returns an f32 scalar that holds v.
func (g *Graph) constant(v float32) *Tensor {
	t := g.Input("constant", F32)
	if g.err == nil {
		if err := Upload(background, t, []float32{v}); err != nil {
			g.fail("constant", "%w", err)
		}
	}
	return t
}
