package vk

import (
	"math/rand/v2"
	"testing"
)

// TestFreeList plays random requests against a map of every byte.
func TestFreeList(t *testing.T) {
	const size = 512
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		list := newFreeList(size)
		var used [size]bool
		var live []byteRange
		fits := func(n, align int64) int64 { // first fit, byte by byte
			for off := int64(0); off+n <= size; off += align {
				free := true
				for _, u := range used[off : off+n] {
					free = free && !u
				}
				if free {
					return off
				}
			}
			return -1
		}
		mark := func(r byteRange, u bool) {
			for i := r.off; i < r.off+r.size; i++ {
				used[i] = u
			}
		}
		for range 400 {
			if len(live) > 0 && random.IntN(5) < 2 {
				i := random.IntN(len(live))
				list.give(live[i].off, live[i].size)
				mark(live[i], false)
				live = append(live[:i], live[i+1:]...)
			} else {
				n, align := 1+random.Int64N(60), int64(1)<<random.IntN(6)
				got, ok := list.take(n, align)
				if want := fits(n, align); ok != (want >= 0) || ok && got != want {
					t.Fatalf("seed %d: take(%d, %d) = %d, %t; want %d", seed, n, align, got, ok, want)
				}
				if ok {
					live = append(live, byteRange{got, n})
					mark(live[len(live)-1], true)
				}
			}
			checkFree(t, &list, used[:])
		}
		for _, r := range live {
			if list.empty() {
				t.Fatalf("seed %d: empty with %d ranges handed out", seed, len(live))
			}
			list.give(r.off, r.size)
		}
		if !list.empty() {
			t.Fatalf("seed %d: not empty after all was returned: %v", seed, list.free)
		}
	}
}

// checkFree: the free ranges are sorted, apart from each other, and exactly the bytes not used.
func checkFree(t *testing.T, list *freeList, used []bool) {
	t.Helper()
	end := int64(-1)
	at := int64(0)
	for _, r := range list.free {
		if r.size <= 0 || r.off <= end {
			t.Fatalf("free ranges %v: empty, unsorted or touching", list.free)
		}
		for ; at < r.off; at++ {
			if !used[at] {
				t.Fatalf("byte %d is free but not in %v", at, list.free)
			}
		}
		for ; at < r.off+r.size; at++ {
			if used[at] {
				t.Fatalf("byte %d is used but in %v", at, list.free)
			}
		}
		end = r.off + r.size
	}
	for ; at < list.size; at++ {
		if !used[at] {
			t.Fatalf("byte %d is free but not in %v", at, list.free)
		}
	}
}
