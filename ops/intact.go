package ops

import "github.com/lemnos-ml/lemnos/vk"

// forward is what the operations before Backward touch, while it runs.
type forward struct {
	touches map[*memory][]nodeTouch
	seed    *memory // may be computed after all of them
	since   int     // the node that follows the operation whose gradient is being computed
}

// nodeTouch is what the node with that number touches.
type nodeTouch struct {
	touch
	node int
}

// beginBackward notes what the nodes so far touch.
func (g *Graph) beginBackward(seed *Tensor) {
	f := &forward{touches: map[*memory][]nodeTouch{}, seed: seed.mem}
	for i, n := range g.nodes {
		for j := range n.calls {
			for _, t := range g.touched(&n.calls[j]) {
				f.touches[t.mem] = append(f.touches[t.mem], nodeTouch{t, i})
			}
		}
	}
	g.forward = f
}

// touched lists what a call touches; nothing where its kernel can't be loaded, which is for Compile to say.
func (g *Graph) touched(c *Call) (list []touch) {
	k, err := g.load(c)
	if err != nil {
		return nil
	}
	for i, t := range c.Args {
		list = append(list, touch{t.mem, t.offset, t.offset + t.Bytes(), k.Bindings()[i]&vk.Write != 0})
	}
	return list
}

// intact checks that what calls of a gradient read still has the values that the operation had: AddTo, CastTo,
// Fill and kernels of the caller's own can write to it after that.
func (g *Graph) intact(op string, calls []Call) {
	f := g.forward
	for i := range calls {
		for j, t := range g.touched(&calls[i]) {
			if t.mem.gradients || t.mem == g.status.mem || t.mem == f.seed {
				continue
			}
			before := false // the operation, or one before it, touched it
			for _, other := range f.touches[t.mem] {
				switch {
				case other.to <= t.from || t.to <= other.from:
				case other.node < f.since:
					before = true
				case before && other.writes:
					n := g.nodes[other.node]
					g.fail(op, "its gradient needs the values of %v that %s (at %s) has overwritten since: write to another tensor", calls[i].Args[j], n.op, n.where)
					return
				}
			}
		}
	}
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
			if k, err := g.load(c); err != nil || k.Bindings()[j]&vk.Write != 0 {
				return true
			}
		}
	}
	return false
}
