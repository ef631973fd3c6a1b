package data

import (
	"math"
	"strings"
	"testing"
)

// The known answers of Random123 (kat_vectors of https://github.com/DEShawResearch/random123), philox4x32 10 rounds.
func TestSpec5PhiloxKnownAnswers(t *testing.T) {
	const ones = math.MaxUint32
	cases := []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	}
	for _, c := range cases {
		if got := philox4x32(c.counter, c.key); got != c.want {
			t.Errorf("counter %x key %x: %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// The statistic of 64 equally likely starts has 63 degrees of freedom: mean 63, standard deviation 11.2. The bounds lie
// 5 deviations away on either side; too even is as wrong as too uneven.
func TestSpec5StartsUniformOverAllWindows(t *testing.T) {
	const n, m, draws = 64 + 5, 5, 64 * 2000
	var counts [n - m]float64
	starts := make([]int64, 16)
	for k := range uint64(draws / len(starts)) {
		if err := drawStarts(starts, 20240917, k, 3, n, m); err != nil {
			t.Fatal(err)
		}
		for _, start := range starts {
			if start < 0 || start > n-m-1 {
				t.Fatalf("batch %d: start %d outside [0, %d]", k, start, n-m-1)
			}
			counts[start]++
		}
	}
	const expected = float64(draws) / (n - m)
	var chi2 float64
	for start, count := range counts {
		if count == 0 {
			t.Errorf("start %d was never drawn", start)
		}
		chi2 += (count - expected) * (count - expected) / expected
	}
	if chi2 < 63-5*11.2 || chi2 > 63+5*11.2 {
		t.Errorf("chi-square %.1f with 63 degrees of freedom", chi2)
	}
}

func TestSpec5StartsArePureAndStreamsDiffer(t *testing.T) {
	draw := func(seed, k uint64, rank uint32) [8]int64 {
		var starts [8]int64
		if err := drawStarts(starts[:], seed, k, rank, 1<<40, 100); err != nil {
			t.Fatal(err)
		}
		return starts
	}
	base := draw(7, 9, 0)
	if draw(7, 9, 0) != base {
		t.Error("the same batch was drawn differently")
	}
	seen := map[[8]int64]bool{base: true}
	for _, other := range [][8]int64{draw(8, 9, 0), draw(7|1<<32, 9, 0), draw(7, 10, 0), draw(7, 9|1<<32, 0), draw(7, 9, 1)} {
		if seen[other] {
			t.Errorf("%v was drawn twice", other)
		}
		seen[other] = true
	}
	var long [16]int64
	if err := drawStarts(long[:], 7, 9, 0, 1<<40, 100); err != nil {
		t.Fatal(err)
	}
	if [8]int64(long[:8]) != base {
		t.Error("a row depends on the number of rows")
	}
}

func TestSpec5StartsErrors(t *testing.T) {
	var starts [1]int64
	err := drawStarts(starts[:], 0, 0, 0, 8, 8)
	if err == nil || !strings.Contains(err.Error(), "8 tokens") || !strings.Contains(err.Error(), "needs 9") {
		t.Errorf("8 tokens, context length 8: %v", err)
	}
	if err := drawStarts(starts[:], 0, 0, 0, 9, 8); err != nil || starts[0] != 0 {
		t.Errorf("9 tokens, context length 8: start %d, %v", starts[0], err)
	}
	if drawStarts(starts[:], 0, 0, 0, 9, 0) == nil || drawStarts(starts[:], 0, 0, 0, math.MinInt64, 8) == nil {
		t.Error("context length 0 or a negative count was accepted")
	}
}
