package ops

import "github.com/lemnos-ml/lemnos/vk"

// forward is what the operations before Backward touch, while it runs.
type forward struct {
	touches map[*memory][]access
	seed    *memory            // may be computed after all of them
	since   int                // the node that follows the operation whose gradient is being computed
	given   map[*memory]string // gradients that a function of Record returned, and of which operation
}

// access is what a call of the node with that number touches.
type access struct {
	touch
	reads bool
	node  int
}

// beginBackward notes what the nodes so far touch.
func (g *Graph) beginBackward(seed *Tensor) {
	f := &forward{touches: map[*memory][]access{}, seed: seed.mem, given: map[*memory]string{}}
	for i, n := range g.nodes {
		for j := range n.calls {
			for _, a := range g.accesses(&n.calls[j], i) {
				f.touches[a.mem] = append(f.touches[a.mem], a)
			}
		}
	}
	g.forward = f
}

// bindings returns what a call does to its arguments. It is no reason to compile the kernel.
func (g *Graph) bindings(c *Call) ([]vk.Access, error) {
	k, err := g.load(c)
	if err != nil {
		return nil, err
	}
	k.Spare()
	return k.Bindings(), nil
}

// accesses lists what a call touches; nothing where its kernel can't be loaded, which is for Compile to say.
func (g *Graph) accesses(c *Call, node int) (list []access) {
	bindings, err := g.bindings(c)
	if err != nil {
		return nil
	}
	for i, t := range c.Args {
		b := bindings[i]
		list = append(list, access{touch{t.mem, t.offset, t.offset + t.Bytes(), b&vk.Write != 0}, b&vk.Read != 0, node})
	}
	return list
}

// intact checks that what calls of a gradient read still has the values that the operation had: AddTo, CastTo,
// Fill and kernels of the caller's own can write to it after that. They do not write to what has been returned as a gradient.
func (g *Graph) intact(op string, calls []Call) {
	for i := range calls {
		for j, a := range g.accesses(&calls[i], len(g.nodes)) {
			t := calls[i].Args[j]
			n := g.overwritten(a)
			by := g.forward.given[a.mem]
			if n != nil {
				g.fail(op, "its gradient needs the values of %v that %s (at %s) has overwritten since: write to another tensor", t, n.op, n.where)
			}
			if !g.check(!a.writes || by == "", op, "%v is written again, which %s has returned as a gradient: return another tensor each time", t, by) {
				return
			}
		}
	}
}

// overwritten returns a node of the forward pass that has written to what a reads since the operation was computed, which
// had, or one before it, touched it; nil where there is none.
func (g *Graph) overwritten(a access) *node {
	f := g.forward
	if !a.reads || a.mem.gradients || a.mem == g.status.mem || a.mem == f.seed {
		return nil
	}
	before := false
	for _, other := range f.touches[a.mem] {
		switch {
		case other.to <= a.from || a.to <= other.from:
		case other.node < f.since:
			before = true
		case before && other.writes:
			return g.nodes[other.node]
		}
	}
	return nil
}

// known reports whether t has its final value before node n runs: what writes
// it comes earlier, if anything in this graph does.
func (g *Graph) known(t *Tensor, n *node) bool {
	written, later := t.mem.graph == nil || t.mem.input != nil, false
	for _, m := range g.nodes {
		later = later || m == n
		if !m.writes(g, t.mem) {
			continue
		}
		if later {
			return false
		}
		written = true
	}
	return written
}

// writes reports whether n may write to mem.
func (n *node) writes(g *Graph, mem *memory) bool {
	for i := range n.calls {
		c := &n.calls[i]
		for j, a := range c.Args {
			if a.mem != mem {
				continue
			}
			if b, err := g.bindings(c); err != nil || b[j]&vk.Write != 0 {
				return true
			}
		}
	}
	return false
}
