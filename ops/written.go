package ops

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
)

// write is a stretch of a memory, in bytes, and when it was written last.
type write struct{ from, to, when int64 }

// writes counts what was written, by all devices.
var writes atomic.Int64

// wrote notes that the values of t were set. The newest write comes last, and one
// that covers an earlier one takes its place.
func (t *Tensor) wrote() {
	m, from, to := t.mem, t.offset, t.offset+t.Bytes()
	m.unwritten = false
	m.writes = slices.DeleteFunc(m.writes, func(w write) bool { return from <= w.from && w.to <= to })
	m.writes = append(m.writes, write{from, to, writes.Add(1)})
}

// Written tells when values of t, which has memory of its own, were set last: of
// two tensors the one with the larger number was set later, and 0 means never. What
// counts is [Upload], operations of immediate graphs and, of a parameter or a tensor of
// an integer type, those of steps, but not updates, which [Optimizer]s do by arenas.
func (t *Tensor) Written() int64 {
	for _, w := range slices.Backward(t.mem.writes) {
		if w.from < t.offset+t.Bytes() && t.offset < w.to {
			return w.when
		}
	}
	return 0
}

// outside lists what the calls write of what [Tensor.Written] tells of, and what they
// read of it before. status is the graph's own.
func (l *layout) outside(status *Tensor) {
	for _, c := range l.calls {
		for i, t := range c.Args {
			index := !t.dtype.Float() && t.mem != status.mem
			value := t.mem.arena != nil && t.mem.arena != t
			written := slices.ContainsFunc(l.writes, func(w *Tensor) bool { return w.mem == t.mem })
			switch {
			case t.mem.graph != nil || !index && !value:
			case c.writes(i):
				l.writes = append(l.writes, t)
			case index && !written && !slices.Contains(l.reads, t):
				l.reads = append(l.reads, t)
			}
		}
	}
}

// compute notes that operations wrote to m, where that are gradients.
func (m *memory) compute() {
	if m.gradients {
		m.computed = writes.Add(1)
	}
}

// useGradients lists the gradients that the calls compute, and what an update uses them for.
func (l *layout) useGradients(g *Graph) {
	for _, c := range l.calls {
		for i, t := range c.Args {
			if !c.node.update && t.mem.gradients && c.writes(i) && !slices.Contains(l.gradients, t.mem) {
				l.gradients = append(l.gradients, t.mem)
			}
		}
	}
	l.updated = slices.Collect(maps.Keys(g.updated))
}

// used reports an update by gradients that all have served one before. Those that the
// host has uploaded serve any number: they may be meant to.
func (l *layout) used() error {
	for _, t := range l.updated {
		if t.param.grad == nil { // released
			return nil
		}
		all := t.param.set.banks[t.param.bank].Grads
		if computed := all.mem.computed; slices.Contains(l.gradients, all.mem) || computed > t.param.used || all.Written() > computed {
			return nil
		}
	}
	if len(l.updated) == 0 {
		return nil
	}
	return errors.New("there are no gradients that no update has used: run the backward pass before each update, or Upload gradients")
}
