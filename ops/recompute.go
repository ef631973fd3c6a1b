package ops

import (
	"maps"
	"reflect"
	"slices"
)

// Recompute returns f(x) and forgets what f computed on the way: the backward
// pass runs f again and differentiates that second run (activation
// checkpointing). Of all that f makes only its result stays in memory until
// then, for the price of one more forward pass through f.
//
// f appends operations of this graph and does nothing else: the same ones each
// time, without Input, Output or Backward. It may read parameters, whose
// gradients are found as usual, and contain Recompute. Of what it makes only the
// result may be used outside; this is checked. Loss and gradients have the bits
// that f(x) itself would have given: a [Graph.Dropout] drops the same values again.
func (g *Graph) Recompute(x *Tensor, f func(x *Tensor) *Tensor) *Tensor {
	const op = "recompute"
	if !g.ok(op, x) || !g.check(f != nil, op, "no function") {
		return g.badLike(x)
	}
	random, drops, made := g.random, g.drops, g.made
	start, before := len(g.nodes), g.tensors
	y, inner := g.apart(x, f)
	nodes := g.nodes[start:]
	makes := func(e tapeEntry) bool { return e.out == y }
	if !g.ok(op, y) || !slices.ContainsFunc(inner, makes) {
		return y // it has no gradient, or is not made by f
	}
	delete(g.means, y) // SumOf would change the first run of f, and the second would still return a mean
	for _, e := range inner {
		g.forgotten[e.out] = e.out != y
	}
	recorded := len(inner)
	// Inputs tell record only whether a gradient is wanted. The operations of f have
	// found out for y, which depends on x and on parameters that f reads, so y stands
	// for all of these.
	g.record(op, y, func(dy *Tensor) {
		nowRandom, nowDrops, nowMade := g.random, g.drops, g.made
		g.random, g.drops, g.made = random, drops, made
		start, twins := len(g.nodes), twins{before, g.tensors, map[*memory]*memory{}}
		again, tape := g.apart(x, f)
		g.random, g.drops, g.made = nowRandom, nowDrops, nowMade
		if g.ok(op, again) && g.check(len(tape) == recorded, op, "the function recorded %d operations, then %d", recorded, len(tape)) {
			for i, e := range tape {
				if n := twins.other(callsOn(nodes, inner[i].out), callsOn(g.nodes[start:], e.out)); n != nil {
					g.fail(op, "the function's %s (at %s) is another one the second time: it must do the same, of the same tensors (a variable that it reads may be another by then)", n.op, n.inner)
					return
				}
			}
			g.walk(tape, again, dy)
		}
	}, y)
	return y
}

// apart runs f with a tape of its own, which it returns.
func (g *Graph) apart(x *Tensor, f func(x *Tensor) *Tensor) (*Tensor, []tapeEntry) {
	outer, back := g.tape, g.back
	g.tape, g.back = nil, nil
	y := f(x)
	inner := g.tape
	g.tape, g.back = outer, back
	return y, inner
}

// callsOn lists the calls that read or write the memory of t.
func callsOn(nodes []*node, t *Tensor) (calls []*scheduled) {
	for _, n := range nodes {
		for i := range n.calls {
			if slices.ContainsFunc(n.calls[i].Args, func(a *Tensor) bool { return a.mem == t.mem }) {
				calls = append(calls, &scheduled{Call: &n.calls[i], node: n})
			}
		}
	}
	return calls
}

// twins pairs what two runs of a function make: of each the memories that are there before it have
// a number of at most first, or second, and are no part of it.
type twins struct {
	first, second int
	of            map[*memory]*memory
}

// other returns the first node of the second calls that are not those of the first.
func (t twins) other(first, second []*scheduled) *node {
	for i, c := range second {
		if i >= len(first) || !t.sameCall(first[i].Call, c.Call) {
			return c.node
		}
	}
	return nil
}

// sameCall reports whether two calls compute the same of what the runs have made, and read
// the same of all else.
func (t twins) sameCall(a, b *Call) bool {
	return slices.EqualFunc(a.Args, b.Args, t.same) && a.Kernel == b.Kernel && slices.Equal(a.SPIRV, b.SPIRV) && [4]int{a.Items, a.Threads, a.Groups, int(a.Local)} == [4]int{b.Items, b.Threads, b.Groups, int(b.Local)} &&
		maps.Equal(a.Spec, b.Spec) && reflect.DeepEqual(a.Push, b.Push)
}

func (t twins) same(a, b *Tensor) bool {
	switch twin := t.of[a.mem]; {
	case a.offset != b.offset:
		return false
	case a.mem == b.mem || twin != nil:
		return a.mem == b.mem || twin == b.mem
	case a.mem.number <= t.first || b.mem.number <= t.second:
		return false
	}
	t.of[a.mem] = b.mem
	return true
}
