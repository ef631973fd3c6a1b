package vk

import "slices"

// freeList is the bookkeeping of one memory block: which byte ranges are free.
type freeList struct {
	size int64
	free []byteRange // by offset; never empty ranges, never two that touch
}

type byteRange struct{ off, size int64 }

func newFreeList(size int64) freeList {
	return freeList{size, []byteRange{{0, size}}}
}

// take returns the offset of the first free range that holds size bytes at a multiple of align.
func (f *freeList) take(size, align int64) (int64, bool) {
	for i, r := range f.free {
		off := roundUp(r.off, align)
		before, after := off-r.off, r.off+r.size-(off+size)
		if after < 0 {
			continue
		}
		switch {
		case before > 0 && after > 0:
			f.free[i].size = before
			f.free = slices.Insert(f.free, i+1, byteRange{off + size, after})
		case before > 0:
			f.free[i].size = before
		case after > 0:
			f.free[i] = byteRange{off + size, after}
		default:
			f.free = slices.Delete(f.free, i, i+1)
		}
		return off, true
	}
	return 0, false
}

// give returns what take handed out, joining it with the free neighbors.
func (f *freeList) give(off, size int64) {
	i, _ := slices.BinarySearchFunc(f.free, off, func(r byteRange, off int64) int {
		if r.off < off {
			return -1
		}
		return 1
	})
	joinsBefore := i > 0 && f.free[i-1].off+f.free[i-1].size == off
	joinsAfter := i < len(f.free) && off+size == f.free[i].off
	switch {
	case joinsBefore && joinsAfter:
		f.free[i-1].size += size + f.free[i].size
		f.free = slices.Delete(f.free, i, i+1)
	case joinsBefore:
		f.free[i-1].size += size
	case joinsAfter:
		f.free[i] = byteRange{off, size + f.free[i].size}
	default:
		f.free = slices.Insert(f.free, i, byteRange{off, size})
	}
}

// empty says that nothing is handed out.
func (f *freeList) empty() bool { return len(f.free) == 1 && f.free[0].size == f.size }

func roundUp(n, multiple int64) int64 { return (n + multiple - 1) / multiple * multiple }
