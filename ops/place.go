package ops

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/vk"
)

// fits returns an error when an argument of c is larger than a buffer can be, or
// than what a kernel can have of one.
func (g *Graph) fits(c *scheduled) error {
	caps := g.dev.Info().Caps
	_, fill := c.plainFill() // by a command that binds nothing
	for _, t := range c.Args {
		switch {
		case t.mem.graph != nil && uint64(t.mem.size) > caps.MaxAllocation:
			return c.tooLarge(t, t.mem.size, caps.MaxAllocation, "buffer")
		case uint64(t.Bytes()) > caps.MaxStorageRange && !fill:
			return c.tooLarge(t, t.Bytes(), caps.MaxStorageRange, "binding")
		}
	}
	return nil
}

func (c *scheduled) tooLarge(t *Tensor, size int64, limit uint64, what string) error {
	return fmt.Errorf("ops: %s: %v takes %d bytes: %w: the device allows %d in one %s (at %s)",
		c.node.op, t, size, vk.ErrOutOfMemory, limit, what, c.node.where)
}

// root follows take-overs to the memory that has a place.
func (m *memory) root() *memory {
	for m.taken != nil {
		m = m.taken
	}
	return m
}

// place gives each intermediate, none of more than limit bytes, a buffer of the
// arena and an offset in it, so that memories that live in the same epoch do not
// overlap, which would need a barrier within it: largest first, lowest free offset.
// It returns the sizes of the buffers, in bytes; there is one unless it would exceed
// limit.
func place(mems []*memory, align, limit int64) []int64 {
	slices.SortStableFunc(mems, func(a, b *memory) int { return cmp.Compare(b.size, a.size) })
	limit = limit / align * align
	// Until all are placed, offsets count through the buffers as if these were one, cut
	// every limit bytes. whole moves a memory that would lie across a cut behind it.
	whole := func(at, size int64) int64 {
		if at%limit+size > limit {
			return roundUp(at, limit)
		}
		return at
	}
	var sizes []int64
	var placed []*memory // by offset
	for _, m := range mems {
		at := int64(0)
		for _, p := range placed {
			if p.from > m.to || p.to < m.from {
				continue
			}
			if at = whole(at, m.size); at+m.size <= p.base {
				break
			}
			at = max(at, roundUp(p.base+p.size, align))
		}
		m.base = whole(at, m.size)
		i, _ := slices.BinarySearchFunc(placed, m, func(a, b *memory) int { return cmp.Compare(a.base, b.base) })
		placed = slices.Insert(placed, i, m)
	}
	for _, m := range placed {
		m.buffer, m.base = int(m.base/limit), m.base%limit
		if m.buffer == len(sizes) {
			sizes = append(sizes, 0)
		}
		sizes[m.buffer] = max(sizes[m.buffer], m.base+m.size)
	}
	return sizes
}

// transients lists the memories of the calls that Compile must place.
func transients(calls []*scheduled) []*memory {
	var mems []*memory
	seen := map[*memory]bool{}
	for _, c := range calls {
		for _, t := range c.Args {
			if m := t.mem.root(); m.graph != nil && m.input == nil && !seen[m] {
				seen[m] = true
				mems = append(mems, m)
			}
		}
	}
	return mems
}

// pack puts size bytes behind what is in the last of blocks, or into a new one
// where that would make it larger than limit. It returns which block and where.
func pack(blocks *[]int64, size, align, limit int64) (block int, offset int64) {
	last := len(*blocks) - 1
	if last < 0 || (*blocks)[last]+size > limit {
		*blocks = append(*blocks, 0)
		last++
	}
	offset = (*blocks)[last]
	(*blocks)[last] = roundUp(offset+size, align)
	return last, offset
}

func sum[N int | int64](sizes []N) (n N) {
	for _, size := range sizes {
		n += size
	}
	return n
}
