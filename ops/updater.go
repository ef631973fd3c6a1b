package ops

import (
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// Updater is what optimizers and training loops need of a graph, and models do
// not: how their kernels divide the work, and what a graph has to know of updates.
type Updater struct{ g *Graph }

// Updater returns what updates need of g.
func (g *Graph) Updater() Updater { return Updater{g} }

// Workers returns how many workgroups a kernel that strides over chunks should
// have on this device.
func (u Updater) Workers() int { return u.g.tune.workers }

// Chunk4 returns how long a chunk of a parameter arena should be on this
// device, in groups of four values.
func (u Updater) Chunk4() int { return u.g.tune.chunk4 }

// Status returns the u32[4] that kernels consult before they write: its first
// value is not 0 once a bad index was found in this graph.
func (u Updater) Status() *Tensor { return u.g.status }

// AsF32 returns the first value of t, of a type of 4 bytes, as an f32 scalar over the
// same memory: one word of a state that kernels keep.
func (u Updater) AsF32(t *Tensor) *Tensor {
	const op = "as f32"
	if !u.g.ok(op, t) || !u.g.check(t.dtype.Size() == 4, op, "%v has no words of 4 bytes: Cast a float type to f32, Upload integers as U32", t) {
		return u.g.bad(F32)
	}
	return &Tensor{name: t.name, dtype: F32, mem: t.mem, offset: t.offset}
}

// Heed makes the graph obey the status of other instead of one of its own: after a bad
// index in a run of the step of one, those of both are refused until it was reported,
// see [Step.Wait]. Call it before there are operations, and close that step first or
// not run it any more.
func (u Updater) Heed(other *Graph) {
	g := u.g
	if !g.check(other != nil, "heed", "no other graph") || !g.ok("heed", other.status) || !g.check(len(g.nodes) == 0, "heed", "the graph has operations already") {
		return
	}
	g.status.Release()
	g.owned = slices.DeleteFunc(g.owned, func(t *Tensor) bool { return t == g.status })
	g.faults, g.heeds = other.faults, true
}

// Own makes the graph release ts together with itself.
func (u Updater) Own(ts ...*Tensor) { u.g.owned = append(u.g.owned, ts...) }

// StageEachRun makes Run refuse unless input t was staged since the run before:
// its values are those of one step, such as a learning rate. call names what
// stages them, for the error.
func (u Updater) StageEachRun(t *Tensor, call string) {
	g := u.g
	if !g.ok("stage each run", t) || g.immediate {
		return
	}
	if g.check(t.mem.input != nil, "stage each run", "%v is not an input", t) {
		t.mem.input.call = call
	}
}

// Optimizer returns whose backward pass the graph has: nil for one that starts
// from 1 and overwrites, or before Backward.
func (u Updater) Optimizer() Optimizer { return u.g.optimizer }

// Updates declares that the operations that follow are an update by o, which changes
// params by their gradients. An optimizer calls it when it records. It fails when
// Backward has yet to come, or did not find a gradient for one of them, when the graph
// updates one already, and when another optimizer does that [Params.Detach] was not
// called for: each keeps a state of its own, which the other would make wrong.
func (u Updater) Updates(o Optimizer, params ...*Tensor) {
	const op = "optimizer"
	g := u.g
	if !g.ok(op, params...) || !g.check(len(g.tape) == 0 || len(g.grads) > 0, op, "the gradients would be those of the run before: call Backward first, then Record") {
		return
	}
	for _, t := range params {
		if !g.check(len(g.grads) == 0 || g.grads[t] != nil, op, "the loss of this graph does not depend on %v, it has no gradient", t) ||
			!g.check(!g.updated[t], op, "the graph updates %v already", t) ||
			!g.check(t.param != nil && (t.param.by == nil || t.param.by == o), op, "another optimizer updates %v: Release that one first", t) {
			return
		}
		g.updated[t] = true
	}
	g.updaters = append(g.updaters, o)
	for _, t := range params {
		t.param.by = o
	}
}

// Reached returns the parameters of p for which Backward found a gradient, in
// the order of p. It is nil before Backward, empty when there are none.
func (u Updater) Reached(p *Params) []*Tensor {
	g := u.g
	if len(g.grads) == 0 {
		return nil
	}
	ts := []*Tensor{}
	for _, t := range p.list {
		if g.grads[t] != nil {
			ts = append(ts, t)
		}
	}
	return ts
}

// SumOf makes loss, which CrossEntropy or LinearCrossEntropy returned and nothing
// has used since, the sum in place of the mean, and returns how many positions it
// is over: what [Graph.CrossEntropySum] returns, of a loss that somebody else's
// function made. For any other loss it does nothing and ok is false.
func (u Updater) SumOf(loss *Tensor) (count *Tensor, ok bool) {
	g := u.g
	divisor := g.means[loss]
	if divisor == nil || g.immediate || len(g.grads) > 0 || !g.ok("sum of", loss) {
		return nil, false
	}
	var ids *Call // writes the divisor
	for _, n := range g.nodes {
		for i := range n.calls {
			c := &n.calls[i]
			for j, a := range c.Args {
				switch {
				case a == divisor && n.checksIDs():
					ids = c
				case a.mem == loss.mem && (j != 2 || c.Kernel != "mean" || c.SPIRV != nil):
					return nil, false // used
				}
			}
		}
	}
	if ids == nil { // a sum already
		return nil, false
	}
	count = g.New(F32)
	push := ids.Push.(idsPush)
	push.Flags |= shaders.Sum
	ids.Push, ids.Args = push, []*Tensor{ids.Args[0], ids.Args[1], count}
	*divisor = *g.constant([]float32{1, 1}, 2) // for all that divide by it
	return count, g.err == nil
}
