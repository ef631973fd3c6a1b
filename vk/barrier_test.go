package vk

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// command is short for the accesses of one command.
type command = []access

func TestPlanCases(t *testing.T) {
	r := func(buf uint64, off, size int64) access { return access{buf, off, size, Read} }
	w := func(buf uint64, off, size int64) access { return access{buf, off, size, Write} }
	rw := func(buf uint64, off, size int64) access { return access{buf, off, size, Read | Write} }
	const no, yes = false, true
	cases := []struct {
		name string
		cmds []command
		want []bool
	}{
		{"nothing", nil, []bool{}},
		{"no accesses", []command{{}, {}}, []bool{no, no}},
		{"read after read", []command{{r(1, 0, 8)}, {r(1, 0, 8)}, {r(1, 4, 8)}}, []bool{no, no, no}},
		{"read after write", []command{{w(1, 0, 8)}, {r(1, 0, 8)}}, []bool{no, yes}},
		{"write after read", []command{{r(1, 0, 8)}, {w(1, 0, 8)}}, []bool{no, yes}},
		{"write after write", []command{{w(1, 0, 8)}, {w(1, 0, 8)}}, []bool{no, yes}},
		{"in place, once", []command{{r(1, 0, 8), w(1, 0, 8)}}, []bool{no}},
		{"in place, twice", []command{{rw(1, 0, 8)}, {rw(1, 0, 8)}}, []bool{no, yes}},
		{"there and back", []command{{r(1, 0, 8), w(2, 0, 8)}, {r(2, 0, 8), w(1, 0, 8)}}, []bool{no, yes}},
		{"adjacent ranges", []command{{w(1, 0, 8)}, {w(1, 8, 8)}, {r(1, 16, 8)}}, []bool{no, no, no}},
		{"one common byte", []command{{w(1, 0, 8)}, {r(1, 7, 8)}}, []bool{no, yes}},
		{"inside", []command{{w(1, 0, 100)}, {r(1, 40, 4)}}, []bool{no, yes}},
		{"around", []command{{w(1, 40, 4)}, {r(1, 0, 100)}}, []bool{no, yes}},
		{"in the gap between two", []command{{w(1, 0, 8)}, {w(1, 16, 8)}, {r(1, 8, 8)}}, []bool{no, no, no}},
		{"different buffers", []command{{w(1, 0, 8)}, {r(2, 0, 8)}, {w(3, 0, 8)}}, []bool{no, no, no}},
		{"empty range", []command{{w(1, 0, 8)}, {r(1, 4, 0)}, {w(1, 4, 0)}}, []bool{no, no, no}},
		{"neither read nor written", []command{{w(1, 0, 8)}, {access{1, 0, 8, 0}}, {w(2, 0, 8)}}, []bool{no, no, no}},
		{"one barrier for two hazards", []command{{w(1, 0, 8)}, {w(2, 0, 8)}, {r(1, 0, 8)}, {r(2, 0, 8)}}, []bool{no, no, yes, no}},
		{"a barrier covers other buffers", []command{{w(1, 0, 8), w(2, 0, 8)}, {r(1, 0, 8)}, {r(2, 0, 8)}}, []bool{no, yes, no}},
		{"earlier than the barrier is forgotten", []command{{r(1, 0, 8)}, {w(1, 0, 4)}, {w(1, 4, 4)}}, []bool{no, yes, no}},
		{"the command after the barrier is remembered", []command{{w(1, 0, 8)}, {rw(1, 0, 8)}, {r(1, 0, 8)}}, []bool{no, yes, yes}},
		{"writes nest in reads", []command{{r(1, 0, 64)}, {w(2, 0, 8)}, {r(2, 0, 8), w(1, 60, 4)}}, []bool{no, no, yes}},
		{"far offsets", []command{{w(1, 1<<40, 1<<33)}, {r(1, 1<<40+1<<33, 8)}, {r(1, 1<<40+1<<32, 8)}}, []bool{no, no, yes}},
	}
	for _, c := range cases {
		if got := plan(c.cmds); !slices.Equal(got, c.want) {
			t.Errorf("%s: barriers before %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPlanRandom plans 10,000 random lists: no hazard without a barrier, and never more barriers than
// the least possible. Hazards and minimum come from the bytes themselves, without intervals.
func TestPlanRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	hazards, barriers, least := 0, 0, 0
	for list := range 10_000 {
		cmds := randomCommands(rng)
		got := plan(cmds)
		if len(got) != len(cmds) {
			t.Fatalf("list %d: %d answers for %d commands", list, len(got), len(cmds))
		}
		conflict := bytewiseConflicts(cmds)
		for j := range cmds {
			for i := range j {
				if !conflict[i][j] {
					continue
				}
				hazards++
				if !slices.Contains(got[i+1:j+1], true) {
					t.Fatalf("list %d: commands %d and %d conflict with no barrier between:\n%s", list, i, j, describeCommands(cmds, got))
				}
			}
		}
		count := 0
		for _, b := range got {
			if b {
				count++
			}
		}
		minimum := leastBarriers(conflict)
		if 10*count > 11*minimum {
			t.Fatalf("list %d: %d barriers, %d would do:\n%s", list, count, minimum, describeCommands(cmds, got))
		}
		barriers, least = barriers+count, least+minimum
	}
	if hazards < 100_000 || barriers < 10_000 {
		t.Errorf("the lists are too tame to mean anything: %d hazards, %d barriers", hazards, barriers)
	}
	t.Logf("%d hazards covered by %d barriers, the least possible is %d", hazards, barriers, least)
}

// space is how many bytes the buffers of the random lists have.
const space = 48

// randomCommands mixes many and few commands, buffers and accesses, and short and long ranges.
func randomCommands(rng *rand.Rand) []command {
	cmds := make([]command, rng.IntN(24))
	buffers := 1 + rng.Uint64N(6)
	longest := 1 + rng.Int64N(space)
	readers := rng.IntN(4) // out of 4: how many accesses only read
	for i := range cmds {
		for range rng.IntN(6) {
			size := rng.Int64N(longest + 1)
			mode := Read
			if rng.IntN(4) >= readers {
				mode = []Access{Write, Read | Write}[rng.IntN(2)]
			}
			cmds[i] = append(cmds[i], access{rng.Uint64N(buffers), rng.Int64N(space - size + 1), size, mode})
		}
	}
	return cmds
}

// bytewiseConflicts is the slow checker: [i][j], i < j, is whether the two commands touch a byte that
// one of them writes, found by marking every byte.
func bytewiseConflicts(cmds []command) [][]bool {
	type place struct {
		buf  uint64
		byte int64
	}
	marks := make([]map[place]Access, len(cmds))
	for i, cmd := range cmds {
		marks[i] = map[place]Access{}
		for _, a := range cmd {
			for b := a.off; b < a.off+a.size; b++ {
				marks[i][place{a.buf, b}] |= a.mode
			}
		}
	}
	conflict := make([][]bool, len(cmds))
	for i := range cmds {
		conflict[i] = make([]bool, len(cmds))
		for j := i + 1; j < len(cmds); j++ {
			for p, first := range marks[i] {
				if second := marks[j][p]; second != 0 && (first|second)&Write != 0 {
					conflict[i][j] = true
					break
				}
			}
		}
	}
	return conflict
}

// leastBarriers cuts the list into the fewest runs of commands without a conflict inside, by dynamic
// programming over the end of the last run; between two runs is a barrier.
func leastBarriers(conflict [][]bool) int {
	n := len(conflict)
	if n == 0 {
		return 0
	}
	runs := make([]int, n+1) // for the first so many commands
	for end := 1; end <= n; end++ {
		runs[end] = n + 1
		for start := range end {
			free := true
			for i := start; i < end; i++ {
				free = free && !slices.Contains(conflict[i][i:end], true)
			}
			if free {
				runs[end] = min(runs[end], runs[start]+1)
			}
		}
	}
	return runs[n] - 1
}

func describeCommands(cmds []command, barriers []bool) string {
	s := ""
	for i, cmd := range cmds {
		if i < len(barriers) && barriers[i] {
			s += "  -- barrier --\n"
		}
		s += fmt.Sprintf("  %d: %+v\n", i, cmd)
	}
	return s
}

// TestIntervals compares the merged intervals with a plain set of bytes.
func TestIntervals(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var set intervals
		var bytes [space]bool
		for range 1 + rng.IntN(12) {
			from := rng.Int64N(space)
			to := from + rng.Int64N(min(9, space-from+1))
			set = set.add(from, to)
			for b := from; b < to; b++ {
				bytes[b] = true
			}
		}
		for i := 1; i < len(set); i++ {
			if set[i].from <= set[i-1].to {
				t.Fatalf("not sorted or not merged: %v", set)
			}
		}
		for from := range int64(space) {
			for to := from; to <= space; to++ {
				want := slices.Contains(bytes[from:to], true)
				if got := set.overlap(from, to); got != want {
					t.Fatalf("%v overlaps [%d,%d): %v, want %v", set, from, to, got, want)
				}
			}
		}
	}
}

// BenchmarkPlan plans 10,000 commands. chain: each reads what the one before wrote, as layers do. rows:
// no conflicts, so that all ranges pile up in one epoch, in random order.
func BenchmarkPlan(b *testing.B) {
	const n = 10_000
	chain, rows := make([]command, n), make([]command, n)
	order := rand.New(rand.NewPCG(5, 6)).Perm(n)
	for i := range n {
		at := int64(i) * 4096
		chain[i] = command{{1, at, 4096, Read}, {2, at, 4096, Read}, {1, at + 4096, 4096, Write}}
		at = int64(order[i]) * 8192
		rows[i] = command{{1, at, 4096, Read}, {2, at, 4096, Read}, {3, at, 4096, Write}}
	}
	for _, list := range []struct {
		name string
		cmds []command
	}{{"chain", chain}, {"rows", rows}} {
		b.Run(list.name, func(b *testing.B) {
			for b.Loop() {
				plan(list.cmds)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/command")
		})
	}
}
