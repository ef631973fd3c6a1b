package ops

import "slices"

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
	random, drops := g.random, g.drops
	y, inner := g.apart(x, f)
	made := func(e tapeEntry) bool { return e.out == y }
	if !g.ok(op, y) || !slices.ContainsFunc(inner, made) {
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
		nowRandom, nowDrops := g.random, g.drops
		g.random, g.drops = random, drops
		again, tape := g.apart(x, f)
		g.random, g.drops = nowRandom, nowDrops
		if g.ok(op, again) && g.check(len(tape) == recorded, op, "the function recorded %d operations, then %d", recorded, len(tape)) {
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
