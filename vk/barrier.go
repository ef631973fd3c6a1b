package vk

import (
	"slices"
	"sort"
)

// access is one byte range of a buffer that a command reads, writes, or both.
type access struct {
	buf       uint64 // identity of the Vulkan buffer; ranges of different buffers never conflict
	off, size int64
	mode      Access
}

// omitBarriers makes plan place none. Only the test that shows that synchronization validation would
// notice a missing barrier sets it.
var omitBarriers bool

// plan says, for each command, whether a global memory barrier goes before it. Two commands conflict
// when they touch the same byte of the same buffer and at least one of them writes it: read after
// write, write after read, write after write. Between the two there must be a barrier; a global one
// orders everything before it against everything after it, whatever the buffer.
//
// A barrier is placed as late as possible: before the first command that conflicts with one since the
// last barrier. For a fixed order no plan has fewer. Each barrier placed here ends a conflicting pair
// (i, j) with i at or after the previous barrier and j right after this one, so the pairs of
// different barriers share no gap between commands; any correct plan needs a barrier in a gap of each
// pair, hence at least as many. (It is the greedy stabbing of intervals by their right ends.)
//
// The ranges since the last barrier are kept per buffer as sorted, merged intervals: a command costs
// a binary search per access, not a walk over the commands before it.
func plan(cmds [][]access) []bool {
	barriers := make([]bool, len(cmds))
	if omitBarriers {
		return barriers
	}
	epoch := 0 // number of barriers so far; a buffer's ranges of earlier epochs are forgotten
	buffers := map[uint64]*touched{}
	for i, cmd := range cmds {
		if slices.ContainsFunc(cmd, func(a access) bool {
			t := buffers[a.buf]
			return t != nil && t.epoch == epoch && t.conflicts(a)
		}) {
			barriers[i] = true
			epoch++
		}
		for _, a := range cmd {
			t := buffers[a.buf]
			if t == nil {
				t = &touched{epoch: epoch}
				buffers[a.buf] = t
			} else if t.epoch != epoch {
				t.epoch, t.reads, t.writes = epoch, t.reads[:0], t.writes[:0]
			}
			t.add(a)
		}
	}
	return barriers
}

// touched is what the commands since the last barrier did to one buffer.
type touched struct {
	epoch         int
	reads, writes intervals
}

func (t *touched) conflicts(a access) bool {
	from, to := a.off, a.off+a.size
	return a.mode != 0 && t.writes.overlap(from, to) || a.mode&Write != 0 && t.reads.overlap(from, to)
}

func (t *touched) add(a access) {
	from, to := a.off, a.off+a.size
	if a.mode&Read != 0 {
		t.reads = t.reads.add(from, to)
	}
	if a.mode&Write != 0 {
		t.writes = t.writes.add(from, to)
	}
}

// interval is the bytes from <= b < to.
type interval struct{ from, to int64 }

// intervals is a set of bytes: sorted, with a gap between any two.
type intervals []interval

func (s intervals) overlap(from, to int64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].to > from })
	return i < len(s) && s[i].from < to && from < to
}

// add merges from <= b < to into the set, reusing its memory.
func (s intervals) add(from, to int64) intervals {
	if from >= to {
		return s
	}
	// s[i:j] are those that overlap or touch the new one.
	i := sort.Search(len(s), func(i int) bool { return s[i].to >= from })
	j := i + sort.Search(len(s)-i, func(k int) bool { return s[i+k].from > to })
	if i < j {
		from, to = min(from, s[i].from), max(to, s[j-1].to)
	}
	return slices.Replace(s, i, j, interval{from, to})
}
