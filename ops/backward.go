package ops

import (
	"errors"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// BackwardOptions says what Backward does, whatever the parameters' optimizer
// wants.
type BackwardOptions struct {
	// Seed is d loss: an f32 scalar on the device, by default 1. The 1/k of
	// gradient accumulation goes here.
	Seed *Tensor
	// Accumulate adds to the gradients that the parameters' arenas hold instead
	// of overwriting them.
	Accumulate bool
	// Overwrite lists the sets that Accumulate leaves out.
	Overwrite []*Params
	// Optimizer is whose pass this is; for an Optimizer's own Backward to set.
	Optimizer Optimizer
}

// Optimizer is what updates parameters by their gradients.
type Optimizer interface {
	// Backward appends the backward pass of factor·loss that the update expects,
	// such as one that starts from a loss scale.
	Backward(g *Graph, loss *Tensor, factor float32)
	// Submitted tells that its backward pass was, or an update; the pass first where
	// one step has both.
	Submitted(update bool)
}

// record puts an operation on the tape: back receives d out and must hand
// every input its share with grad or addGrad.
func (g *Graph) record(op string, out *Tensor, back func(dy *Tensor), inputs ...*Tensor) {
	if g.err != nil {
		return
	}
	for _, t := range inputs {
		if g.read[t] == "" {
			g.read[t] = g.source().where
		}
	}
	if !slices.ContainsFunc(inputs, g.wants) {
		return
	}
	for _, t := range inputs {
		if !g.check(!g.forgotten[t], op, "%v was made inside Recompute, which hands out its result only", t) {
			return
		}
	}
	for _, t := range inputs {
		if t.param != nil {
			g.sets[t.param.set] = true
		}
	}
	g.needs[out] = true
	g.tape = append(g.tape, tapeEntry{op: op, source: g.source(), out: out, inputs: inputs, next: len(g.nodes), back: back})
}

// wants reports whether a gradient with respect to t is of any use.
func (g *Graph) wants(t *Tensor) bool { return t.trained() || g.needs[t] }

// trained reports whether t is a parameter whose gradient has a place: one of an
// allocated set that is not frozen.
func (t *Tensor) trained() bool { return t.param != nil && t.param.grad != nil }

// accumulates reports whether Backward adds to the gradient that parameter x has.
func (g *Graph) accumulates(x *Tensor) bool {
	return g.accumulate && x.trained() && !slices.Contains(g.overwrite, x.param.set)
}

// RequireGrad asks Backward for the gradient of t too, a tensor that is not a
// parameter. Call it before the operations that read t.
func (g *Graph) RequireGrad(t *Tensor) {
	const op = "require grad"
	if g.ok(op, t) && g.check(t.dtype.Float(), op, "%v is of an integer type, which has no gradient", t) &&
		g.check(g.wants(t) || g.read[t] == "", op, "%v has been read (at %s) by what would give it no gradient: call RequireGrad before", t, g.read[t]) {
		g.needs[t] = true
	}
}

// Grad returns the gradient that Backward found for t, or nil. Gradients of
// parameters live in the parameter arena, others are intermediates.
func (g *Graph) Grad(t *Tensor) *Tensor { return g.grads[t] }

// Backward appends the operations that compute d loss / d p for every parameter
// p that loss, an f32 scalar, depends on. The others' gradients are not touched.
// It comes once, after the loss and before an optimizer's Record.
//
// Backward(loss, nil) is what the optimizer of the parameters needs (see
// [Params.Attach]): it starts from the loss scale if there is one, and Run is an error
// while there is an optimizer that no graph records an update of. With options, be
// they empty, Backward does what they say: for gradients alone.
func (g *Graph) Backward(loss *Tensor, o *BackwardOptions) {
	const op = "backward"
	if !g.ok(op, loss) || !g.check(loss.dtype == F32 && loss.Len() == 1, op, "loss is %v, want one f32 value", loss) ||
		!g.check(g.needs[loss], op, "no parameter feeds into the loss") ||
		!g.check(len(g.grads) == 0, op, "called twice on one graph") ||
		!g.check(g.undropped == "", op, "Dropout (at %s) would drop nothing: call Graph.Train before it, or train with a dropout of 0", g.undropped) ||
		!g.check(len(g.updated) == 0, op, "an optimizer was recorded before it, which would use the gradients of the run before: call Backward first, then Record") {
		return
	}
	if o == nil {
		g.training = true
		opt, err := g.onlyOptimizer()
		switch {
		case err != nil:
			g.fail(op, "%w", err)
			return
		case opt != nil:
			opt.Backward(g, loss, 1)
			return
		}
		o = &BackwardOptions{}
	}
	seed := o.Seed
	if seed == nil {
		seed = g.constant([]float32{1})
	}
	if !g.ok(op, seed) || !g.check(seed.dtype == F32 && seed.Len() == 1, op, "seed is %v, want one f32 value", seed) {
		return
	}
	g.accumulate, g.overwrite, g.optimizer = o.Accumulate, o.Overwrite, o.Optimizer
	g.differentiate(loss, seed)
	if g.immediate {
		g.submitted()
	}
}

// submitted tells optimizers of a run.
func (g *Graph) submitted() {
	if g.optimizer != nil {
		g.optimizer.Submitted(false)
	}
	for _, o := range g.updaters {
		o.Submitted(true)
	}
}

// onlyOptimizer returns the optimizer of the parameter sets in this graph, nil
// when they have none.
func (g *Graph) onlyOptimizer() (only Optimizer, err error) {
	for p := range g.sets {
		if only != nil && p.backward != nil && p.backward != only {
			return nil, errors.New("parameters of two optimizers: say which one's backward pass this is by calling its Backward")
		}
		if p.backward != nil {
			only = p.backward
		}
	}
	return only, nil
}

// idle reports a backward pass for an optimizer of which nothing records an update.
func (g *Graph) idle() error {
	if !g.training || len(g.updated) > 0 {
		return nil
	}
	for p := range g.sets {
		if len(p.optimizers) > 0 && !slices.ContainsFunc(p.list, func(t *Tensor) bool { return t.param.by != nil }) {
			return errors.New("the backward pass is for an optimizer of which no graph has an update: call its Record; for gradients alone give Backward options")
		}
	}
	return nil
}

// differentiate computes all gradients from that of y, which is dy.
func (g *Graph) differentiate(y, dy *Tensor) {
	g.beginBackward(dy)
	g.walk(g.tape, y, dy)
	g.forward = nil
}

// walk follows a tape backwards from y, whose gradient is dy.
func (g *Graph) walk(tape []tapeEntry, y, dy *Tensor) {
	g.grads[y] = dy
	back, since := g.back, g.forward.since
	for _, e := range slices.Backward(tape) {
		if dy := g.grads[e.out]; dy != nil {
			g.back, g.forward.since = &e, e.next
			e.back(dy)
		}
	}
	g.back, g.forward.since = back, since
}

// grad returns the tensor that the gradient of x is to be written to, and
// whether it must be added to what is there. For kernels that can add.
func (g *Graph) grad(x *Tensor) (dx *Tensor, add bool) {
	dx = g.grads[x]
	switch {
	case x.trained():
		begun := g.begin(x)
		return x.param.grad, g.accumulates(x) || begun
	case dx != nil && g.unshared[x]:
		return dx, true
	}
	own := g.New(x.dtype, x.shape...)
	if dx != nil {
		g.add("copy gradient", g.copyCall(dx, own))
	}
	g.grads[x], g.unshared[x] = own, true
	return own, dx != nil
}

// begun reports whether this pass wrote to the gradient of x, or of a part of a stack.
func (g *Graph) begun(x *Tensor) bool {
	return g.grads[x] != nil || x.param != nil && slices.ContainsFunc(x.param.all, func(t *Tensor) bool { return g.grads[t] != nil })
}

// begin is begun of a parameter, and notes that something now does write to it.
// What nothing wrote to yet is zeros afterwards if it must be added to.
func (g *Graph) begin(x *Tensor) bool {
	begun := g.begun(x)
	for _, t := range x.param.all {
		if begun && g.grads[t] == nil && !g.accumulates(x) {
			g.Fill(t.param.grad, 0)
		}
		g.grads[t] = t.param.grad
	}
	g.grads[x] = x.param.grad
	return begun
}

// gradTarget returns where a kernel that can only overwrite puts the gradient of
// x: its final place, or else an intermediate to be passed to addGrad.
func (g *Graph) gradTarget(x *Tensor) (dx *Tensor, final bool) {
	if g.begun(x) || g.accumulates(x) {
		return g.New(x.dtype, x.shape...), false
	}
	dx, _ = g.grad(x)
	return dx, true
}

// overwriteGrads appends the call that computes the gradients of xs and can only
// overwrite. What nobody wants is written to an intermediate of no further use.
func (g *Graph) overwriteGrads(op string, call func(dx ...*Tensor) Call, xs ...*Tensor) {
	dx, final := make([]*Tensor, len(xs)), make([]bool, len(xs))
	for i, x := range xs {
		if g.wants(x) {
			dx[i], final[i] = g.gradTarget(x)
		} else {
			dx[i] = g.New(x.dtype, x.shape...)
		}
	}
	g.add(op, call(dx...))
	for i, x := range xs {
		if !final[i] {
			g.addGrad(x, dx[i])
		}
	}
}

// addGrad gives x its share dx of the gradient, an intermediate already
// computed. For operations whose kernels cannot add. dx may be the gradient of
// other tensors too: Add hands one to both sides.
func (g *Graph) addGrad(x, dx *Tensor) {
	if !g.wants(x) {
		return
	}
	if !x.trained() && !g.unshared[x] {
		old := g.grads[x]
		if old == nil {
			g.grads[x] = dx
			return
		}
		sum := g.New(x.dtype, x.shape...)
		g.add("add gradient", g.binaryCall(shaders.Add, old, dx, nil, sum))
		g.grads[x], g.unshared[x] = sum, true
		return
	}
	dst, add := g.grad(x)
	if add {
		g.add("add gradient", g.binaryCall(shaders.Add, dst, dx, nil, dst))
		return
	}
	g.add("store gradient", g.copyCall(dx, dst))
}

// constant returns an f32 tensor that holds v.
func (g *Graph) constant(v []float32, shape ...int) *Tensor {
	t := g.Input("constant", F32, shape...)
	if g.err == nil {
		if err := Upload(background, t, v); err != nil {
			g.fail("constant", "%w", err)
		}
	}
	return t
}
