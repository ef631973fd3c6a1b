package ops

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// OpCount is what the calls of one operation do in a run of a step.
type OpCount struct {
	Op         string // as errors and profiles name it
	Times      int    // how often the graph has the operation: the dispatches that there would be with one for each
	Dispatches int
	Barriers   int   // before its calls
	Bytes      int64 // that its kernels have to move: what each reads and what it writes, once
	Least      int64 // bytes that it reads from other operations and leaves for them, or for after the run, each once
	FLOPs      int64 // of matrix products and attention, of the pairs of positions that see each other
}

// Counts returns what a run does, by operation, in the order of their first calls. It
// follows from the recorded step: nothing runs, and a device that was opened for
// compiling only will do.
func (s *Step) Counts() []OpCount {
	var list []OpCount
	index := map[string]int{}
	barriers := s.main.Barriers()
	nodes := map[*node]bool{}
	for i, c := range s.layout.calls {
		at, known := index[c.node.op]
		if !known {
			at = len(list)
			index[c.node.op] = at
			list = append(list, OpCount{Op: c.node.op})
		}
		n := &list[at]
		for _, part := range c.parts() {
			if !nodes[part.node] && part.node.op == c.node.op {
				nodes[part.node] = true
				n.Times++
			}
		}
		if _, fill := c.plainFill(); !fill {
			n.Dispatches++
		}
		if barriers[i] {
			n.Barriers++
		}
		n.Bytes += c.bytes()
		n.FLOPs += c.flops()
	}
	least := leastBytes(s.layout.calls)
	for i := range list {
		list[i].Least = least[list[i].Op]
	}
	return list
}

// stretch is a part of memory.
type stretch struct {
	mem          *memory
	offset, size int64
}

// accesses says what a call does with each stretch of memory that it touches.
func (c *scheduled) accesses() map[stretch]vk.Access {
	all := map[stretch]vk.Access{}
	if p, ok := c.Push.(columnSumPush); ok && p.Sums > 0 { // it goes through parts of what it has bound
		for _, part := range c.of {
			maps.Copy(all, part.accesses())
		}
		return all
	}
	var most, next int64 // of the sizes
	for _, t := range c.Args {
		size := t.Bytes()
		most, next = max(most, size), max(next, min(most, size))
	}
	if !c.picksRows() {
		next = most
	}
	for i, t := range c.Args {
		all[stretch{t.mem, t.offset, min(t.Bytes(), next)}] |= c.access(i)
	}
	return all
}

// access is what the kernel may do with argument i, less what a product reads of its result, argument 4, only where it adds to it.
func (c *scheduled) access(i int) vk.Access {
	a := c.kernel.Bindings()[i]
	if _, product := c.Push.(matmulPush); product && i == matmulC && c.Spec[shaders.SpecAccumulate] == 0 {
		a &^= vk.Read
	}
	return a
}

// bytes is what a call has to move.
func (c *scheduled) bytes() (n int64) {
	for p, a := range c.accesses() {
		n += p.size * int64(bits.OnesCount8(uint8(a)))
	}
	return n
}

// leastBytes is what calls must move between operations: what those of one name read that is not their own, and what they write
// that outlives the run or others read. All operations of a name count as one, and a byte once each way.
func leastBytes(calls []*scheduled) map[string]int64 {
	type use struct {
		op  string
		mem *memory
	}
	read, written := map[use][]stretch{}, map[use][]stretch{}
	has := map[*memory]bool{} // values, of whatever operation
	readers := map[*memory][]string{}
	for _, c := range calls {
		accesses := c.accesses()
		for p, a := range accesses {
			u := use{c.node.op, p.mem}
			outside := p.mem.graph == nil || p.mem.input != nil
			if a&vk.Read != 0 && (outside || has[p.mem]) {
				readers[p.mem] = append(readers[p.mem], u.op)
				if written[u] == nil {
					read[u] = append(read[u], p)
				}
			}
		}
		for p, a := range accesses {
			if u := (use{c.node.op, p.mem}); a&vk.Write != 0 {
				written[u] = append(written[u], p)
				has[p.mem] = true
			}
		}
	}
	least := map[string]int64{}
	for u, list := range read {
		least[u.op] += covered(list)
	}
	for u, list := range written {
		others := slices.ContainsFunc(readers[u.mem], func(op string) bool { return op != u.op })
		if others || u.mem.graph == nil || u.mem.keep {
			least[u.op] += covered(list)
		}
	}
	return least
}

// covered is how many bytes stretches of one memory have together.
func covered(list []stretch) (n int64) {
	slices.SortFunc(list, func(a, b stretch) int { return cmp.Compare(a.offset, b.offset) })
	end := int64(0)
	for _, p := range list {
		n += max(0, p.offset+p.size-max(end, p.offset))
		end = max(end, p.offset+p.size)
	}
	return n
}

// picksRows reports whether a call touches only some rows of its largest argument, as
// many as another argument has.
func (c *Call) picksRows() bool {
	kernel, _, _ := strings.Cut(c.Kernel, ".")
	switch kernel {
	case "batch", "embed", "embed_back", "store_rows":
		return true
	}
	return false
}

// flops counts multiplications and additions.
func (c *scheduled) flops() int64 {
	switch p := c.Push.(type) {
	case matmulPush:
		return 2 * int64(p.M) * int64(p.N) * int64(p.K) * int64(p.Batch)
	case attentionPush:
		return p.products(c.Kernel) * 2 * p.pairs() * int64(p.Batch) * int64(p.Heads) * int64(c.Args[0].cols())
	}
	return 0
}

// products is how many products with a row of a head each pair of a query and a key
// takes.
func (p *attentionPush) products(kernel string) int64 {
	kernel, _, _ = strings.Cut(kernel, ".")
	switch {
	case strings.HasSuffix(kernel, "_dkv"): // logits, d probabilities, d k, d v
		return 4 * int64(p.LastHead-p.FirstHead) / int64(p.Group)
	case strings.HasSuffix(kernel, "_dq"): // logits, d probabilities, d q
		return 3
	}
	return 2 // logits, y
}

// pairs is how many pairs of a query and a key see each other, in one head. A mask, or a
// start that only the device knows, may hide any.
func (p *attentionPush) pairs() int64 {
	below := func(n int64) int64 { return n * (n + 1) / 2 }
	n, w := int64(p.Queries), int64(p.Window)
	switch {
	case p.HasStart != 0 || p.Mask[2] != 0:
		return n * int64(p.Capacity)
	case w == 0 || w > n:
		w = n
	}
	return below(n) - below(n-w)
}
