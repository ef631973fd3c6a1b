package ops

import (
	"runtime"
	"slices"
	"strings"
)

// Record tells Backward how to differentiate an operation that the caller has
// added with [Graph.Dispatch]: y is what it computed of inputs, and backward is called, where anything wants the gradient of y, with
// that gradient, dy. It appends the operations that compute the gradients of
// inputs and returns these, in their order and of their types and shapes. nil
// stands for an input that has none or that nobody wants, see [Graph.NeedsGrad],
// and for one whose gradient was written to where [Graph.GradInto] said.
//
// Call it before y is read. backward runs at most once, in Backward; within [Graph.Recompute] it may use
// only what the same run of the function made. A tensor that it returns is the
// graph's from then on and is not written any more.
func (g *Graph) Record(op string, y *Tensor, inputs []*Tensor, backward func(dy *Tensor) []*Tensor) {
	if !g.ok(op, append([]*Tensor{y}, inputs...)...) || !g.check(backward != nil, op, "no function for its gradient") ||
		!g.check(g.computes(y, inputs), op, "%v is not computed by this graph", y) ||
		!g.check(!slices.Contains(inputs, y), op, "%v is both its result and an input", y) ||
		!g.check(!slices.ContainsFunc(g.tape, func(e tapeEntry) bool { return e.out == y }), op, "%v has a gradient already: record one of its Detach", y) ||
		!g.check(g.read[y] == "", op, "%v has been read (at %s) by what would give it no gradient: call Record before", y, g.read[y]) {
		return
	}
	inputs = slices.Clone(inputs)
	g.record(op, y, func(dy *Tensor) {
		dxs := backward(dy)
		if !g.check(len(dxs) == len(inputs), op, "backward returned %d gradients for %d inputs", len(dxs), len(inputs)) {
			return
		}
		for i, x := range inputs {
			dx := dxs[i]
			if dx == nil {
				continue
			}
			if !g.ok(op, dx) || !g.check(dx.dtype == x.dtype && slices.Equal(dx.shape, x.shape), op, "backward returned %v as the gradient of %v", dx, x) {
				return
			}
			g.addGrad(x, dx)
			if !dx.mem.gradients {
				g.forward.given[dx.mem] = op
			}
		}
	}, inputs...)
}

// computes reports whether y is computed by the graph, or a Detach of one of inputs.
func (g *Graph) computes(y *Tensor, inputs []*Tensor) bool {
	same := func(t *Tensor) bool { return t.mem == y.mem }
	return y.mem.graph == g || g.immediate && slices.ContainsFunc(g.owned, same) || y.param == nil && slices.ContainsFunc(inputs, same)
}

// Detach returns x as a tensor that no gradient flows back through: a constant
// for Backward, or the result of operations of which [Graph.Record] gives another
// gradient than their own. It shares x's memory.
func (g *Graph) Detach(x *Tensor) *Tensor {
	if !g.ok("detach", x) {
		return g.badLike(x)
	}
	return x.view(0, x.shape...)
}

// NeedsGrad reports whether Backward would use a gradient of t: t is a parameter,
// depends on one, or was named by [Graph.RequireGrad].
func (g *Graph) NeedsGrad(t *Tensor) bool { return t != nil && g.wants(t) }

// GradInto is for kernels of a backward function that can write, or add to, the
// gradient of x in place, such as in the parameters' arena. It returns that
// tensor, and whether the kernel must add to what is there or overwrite it. The
// kernel has to do so before the function goes on, and x must be an input of the
// operation and need its gradient.
func (g *Graph) GradInto(x *Tensor) (dx *Tensor, add bool) {
	const op = "grad into"
	if !g.ok(op, x) || !g.check(g.back != nil, op, "no gradient is being computed: call it in a backward function") ||
		!g.check(g.wants(x), op, "nothing needs the gradient of %v", x) ||
		!g.check(slices.Contains(g.back.inputs, x), op, "%v is no input of %s, whose gradient is being computed", x, g.back.op) {
		return g.badLike(x), false
	}
	return g.grad(x)
}

// Helper marks the calling function as part of an operation: errors and anomalies
// then name the line that called it, as [testing.T.Helper] makes tests do.
func (g *Graph) Helper() {
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	f, _ := runtime.CallersFrames(pc[:]).Next()
	if !g.helper(f.Function) {
		g.helpers = append(g.helpers, f.Function)
	}
}

// helper reports whether the function called Helper, or is a literal in one that did.
func (g *Graph) helper(function string) bool {
	return slices.ContainsFunc(g.helpers, func(h string) bool { return function == h || strings.HasPrefix(function, h+".func") })
}
