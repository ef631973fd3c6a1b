package ops

import (
	"math/bits"
	"strings"

	"github.com/lemnos-ml/lemnos/vk"
)

// OpCount is what the calls of one operation do in a run of a step.
type OpCount struct {
	Op         string // as errors and profiles name it
	Dispatches int
	Barriers   int   // before its calls
	Bytes      int64 // that its kernels have to move: what each reads and what it writes, once
	FLOPs      int64 // of matrix products and attention, of the pairs of positions that see each other
}

// Counts returns what a run does, by operation, in the order of their first calls. It
// follows from the recorded step: nothing runs, and a device that was opened for
// compiling only will do.
func (s *Step) Counts() []OpCount {
	var list []OpCount
	index := map[string]int{}
	barriers := s.main.Barriers()
	for i, c := range s.layout.calls {
		at, known := index[c.node.op]
		if !known {
			at = len(list)
			index[c.node.op] = at
			list = append(list, OpCount{Op: c.node.op})
		}
		n := &list[at]
		if _, fill := c.plainFill(); !fill {
			n.Dispatches++
		}
		if barriers[i] {
			n.Barriers++
		}
		n.Bytes += c.bytes()
		n.FLOPs += c.flops()
	}
	return list
}

// bytes is what a call has to move.
func (c *scheduled) bytes() (n int64) {
	type place struct {
		mem          *memory
		offset, size int64
	}
	accesses := map[place]vk.Access{}
	var most, next int64 // of the sizes
	for i, t := range c.Args {
		size := t.Bytes()
		accesses[place{t.mem, t.offset, size}] |= c.kernel.Bindings()[i]
		most, next = max(most, size), max(next, min(most, size))
	}
	if !c.picksRows() {
		next = most
	}
	for p, a := range accesses {
		n += min(p.size, next) * int64(bits.OnesCount8(uint8(a)))
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
	case kernel == "attention_delta":
		return 0
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
