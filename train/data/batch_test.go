package data

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// counting returns the tokens 0, 1, …, n-1: each says its position.
func counting(n int) *Tokens {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = uint32(i)
	}
	return NewTokens(ids)
}

func TestSpec5BatchOfWindows(t *testing.T) {
	const n, b, m = 50, 4, 6
	s := Sampler{Tokens: counting(n), Seed: 5, Rank: 2, B: b, M: m}
	x, y := make([]int32, b*m), make([]int32, b*m)
	for k := range int64(20) {
		if err := s.Gather(k, x, y); err != nil {
			t.Fatal(err)
		}
		var starts [b]int64
		if err := drawStarts(starts[:], 5, uint64(k), 2, n, m); err != nil {
			t.Fatal(err)
		}
		for i := range x {
			want := int32(starts[i/m]) + int32(i%m)
			if x[i] != want || y[i] != want+1 {
				t.Fatalf("batch %d, row %d, position %d: input %d target %d, want %d and %d", k, i/m, i%m, x[i], y[i], want, want+1)
			}
		}
	}
	if allocs := testing.AllocsPerRun(10, func() { s.Gather(3, x, y) }); allocs != 0 {
		t.Errorf("Gather allocates %v times", allocs)
	}
}

// Seven tokens have exactly one window of six inputs; the last window must be drawn where there are two.
func TestSpec5BatchReachesTheLastWindow(t *testing.T) {
	x, y := make([]int32, 6), make([]int32, 6)
	s := Sampler{Tokens: counting(7), B: 1, M: 6}
	if err := s.Gather(0, x, y); err != nil || x[0] != 0 || y[5] != 6 {
		t.Errorf("%v, %v, %v", x, y, err)
	}
	s.Tokens = counting(8)
	var seen [2]bool
	for k := range int64(64) {
		if err := s.Gather(k, x, y); err != nil {
			t.Fatal(err)
		}
		seen[x[0]] = true
	}
	if seen != [2]bool{true, true} {
		t.Errorf("windows drawn: %v", seen)
	}
}

func TestSpec5BatchErrors(t *testing.T) {
	x, y := make([]int32, 12), make([]int32, 12)
	tokens := counting(6)
	check.Error(t, (&Sampler{Tokens: tokens, B: 2, M: 6}).Gather(0, x, y), "6 tokens", "needs 7")
	check.Error(t, (&Sampler{Tokens: tokens, B: 0, M: 6}).Gather(0, x, y), "0 rows")
	check.Error(t, (&Sampler{Tokens: tokens, B: 2, M: 0}).Gather(0, x, y), "context length 0")
	check.Error(t, (&Sampler{Tokens: tokens, B: 4, M: 4}).Gather(0, x, y), "inputs of 12", "4 rows of 4")
	check.Error(t, (&Sampler{Tokens: tokens, B: 3, M: 4}).Gather(0, x, y[:11]), "targets of 11")
	bad := NewTokens([]int32{1, 2, 3, 4, -5, 6})
	check.Error(t, (&Sampler{Tokens: bad, B: 3, M: 4}).Gather(0, x, y), "batch 0, row 0", "token -5", "position 4")
	_, err := (&Windows{Tokens: tokens, B: 2, M: 6}).Gather(0, x, y)
	check.Error(t, err, "6 tokens", "needs 7")
	_, err = (&Windows{Tokens: tokens, B: 3, M: 4}).Gather(-1, x, y)
	check.Error(t, err, "window -1")
	check.Error(t, (&Sampler{B: 3, M: 4}).Gather(0, x, y), "no tokens")
	_, err = (&Windows{B: 3, M: 4}).Gather(0, x, y)
	check.Error(t, err, "no tokens")
}

func TestSpec5SequentialWindows(t *testing.T) {
	for _, n := range []int{5, 6, 8, 9, 10, 37, 40, 41, 42} {
		for _, limit := range []int64{0, 3} {
			const b, m = 3, 4
			w := Windows{Tokens: counting(n), B: b, M: m, Limit: limit}
			x, y := make([]int32, b*m), make([]int32, b*m)
			var inputs, targets []int32
			for first := int64(0); ; {
				rows, err := w.Gather(first, x, y)
				if err != nil {
					t.Fatal(err)
				}
				inputs, targets = append(inputs, x[:rows*m]...), append(targets, y[:rows*m]...)
				for _, id := range x[rows*m:] {
					if id != 0 {
						t.Errorf("n=%d: input %d in a row without window", n, id)
					}
				}
				for _, id := range y[rows*m:] {
					if id != PadTarget {
						t.Errorf("n=%d: target %d in a row without window", n, id)
					}
				}
				if rows == 0 {
					break
				}
				first += int64(rows)
			}
			count := (n - 1) / m
			if limit > 0 {
				count = min(count, int(limit))
			}
			if w.Count() != int64(count) || len(inputs) != count*m {
				t.Errorf("n=%d, limit %d: %d windows and %d inputs, want %d windows", n, limit, w.Count(), len(inputs), count)
			}
			for i := range inputs {
				if inputs[i] != int32(i) || targets[i] != int32(i+1) {
					t.Fatalf("n=%d: position %d has the input %d and the target %d", n, i, inputs[i], targets[i])
				}
			}
		}
	}
}

func TestSpec5PrefetcherGivesTheSamplersBatches(t *testing.T) {
	const b, m = 3, 5
	tokens := counting(1000)
	direct := Sampler{Tokens: tokens, Seed: 1, B: b, M: m}
	p := NewPrefetcher(&Sampler{Tokens: tokens, Seed: 1, B: b, M: m})
	defer p.Close()
	wantX, wantY := make([]int32, b*m), make([]int32, b*m)
	var lastX []int32
	for _, k := range []int64{7, 8, 9, 10, 3, 4, 4, 5, 1 << 40, 1<<40 + 1} {
		x, y, err := p.Batch(k)
		if err != nil {
			t.Fatal(err)
		}
		if err := direct.Gather(k, wantX, wantY); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x, wantX) || !slices.Equal(y, wantY) {
			t.Fatalf("batch %d: %v and %v, want %v and %v", k, x, y, wantX, wantY)
		}
		time.Sleep(time.Millisecond) // the goroutine must not touch what it has given
		if !slices.Equal(x, wantX) {
			t.Fatalf("batch %d was overwritten", k)
		}
		if lastX != nil && &x[0] == &lastX[0] {
			t.Fatal("two batches in a row share memory")
		}
		lastX = x
	}
	k := int64(100)
	if allocs := testing.AllocsPerRun(50, func() { p.Batch(k); k++ }); allocs != 0 {
		t.Errorf("Batch allocates %v times", allocs)
	}
	_, _, err := p.Batch(-1)
	check.Error(t, err, "-1")
}

func TestSpec5PrefetcherErrorsAndClose(t *testing.T) {
	ids := make([]int32, 40)
	ids[39] = -1
	p := NewPrefetcher(&Sampler{Tokens: NewTokens(ids), B: 1, M: 4})
	failed := 0
	for k := range int64(200) {
		if _, _, err := p.Batch(k); err != nil {
			failed++
			check.Error(t, err, "token -1", "position 39")
		}
	}
	if failed == 0 || failed == 200 {
		t.Errorf("%d of 200 batches failed", failed)
	}
	p.Close()
	p.Close()
	_, _, err := p.Batch(0)
	check.Error(t, err, "closed")
	for range 3 {
		NewPrefetcher(&Sampler{Tokens: counting(10), B: 0, M: -3}).Close()
	}
	for range 2000 { // a goroutine that has ended is gone a little later
		stacks := make([]byte, 1<<20)
		if !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "data.NewPrefetcher") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a goroutine outlives Close")
}
