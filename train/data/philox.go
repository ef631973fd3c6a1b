package data

import (
	"fmt"
	"math/bits"
)

// philox4x32 is the counter-based generator Philox4x32-10: ten rounds that turn a counter and a key into 128 random
// bits. J. K. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. The batch kernel computes the same.
func philox4x32(counter [4]uint32, key [2]uint32) [4]uint32 {
	const (
		multiplier0, multiplier1 = 0xD2511F53, 0xCD9E8D57
		weyl0, weyl1             = 0x9E3779B9, 0xBB67AE85
	)
	for range 10 {
		high0, low0 := bits.Mul32(multiplier0, counter[0])
		high1, low1 := bits.Mul32(multiplier1, counter[2])
		counter = [4]uint32{high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0}
		key[0] += weyl0
		key[1] += weyl1
	}
	return counter
}

// drawStarts fills starts with the first positions of the windows of batch k, one per row, uniform over all n-m windows of
// m inputs and their targets in n tokens: 0 <= start <= n-m-1. It is a pure function of (seed, k, rank): a run that
// resumes at batch k draws what it would have drawn, and each rank of a data-parallel run has its own stream.
//
// Row r takes the 64 bits w1<<32|w0 of Philox4x32-10 under the key (low seed, high seed) at the counter
// (low k, high k, r, rank), multiplies them by n-m and keeps the upper 64 bits of the product. The batch kernel draws
// the same numbers.
func drawStarts(starts []int64, seed, k uint64, rank uint32, n int64, m int) error {
	if m < 1 || n <= int64(m) {
		return fmt.Errorf("data: %d tokens have no window of context length %d, which needs %d", n, m, int64(m)+1)
	}
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for row := range starts {
		w := philox4x32([4]uint32{uint32(k), uint32(k >> 32), uint32(row), rank}, key)
		start, _ := bits.Mul64(uint64(w[1])<<32|uint64(w[0]), uint64(n-int64(m)))
		starts[row] = int64(start)
	}
	return nil
}
