package opstest

import (
	"math"
	"math/bits"
)

// Philox4x32 is philox4x32-10 of Salmon et al. 2011.
func Philox4x32(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		h0, l0 := bits.Mul32(0xd2511f53, counter[0])
		h1, l1 := bits.Mul32(0xcd9e8d57, counter[2])
		counter = [4]uint32{h1 ^ counter[1] ^ key[0], l1, h0 ^ counter[3] ^ key[1], l0}
		key[0] += 0x9e3779b9
		key[1] += 0xbb67ae85
	}
	return counter
}

// DropoutState is what a mask is a function of: the step k, the seed, and which dropout of the graph it is.
type DropoutState struct {
	K, Seed uint64
	Number  uint32
}

// Keep returns the mask of rows of cols values under probability p: value j of row r is value j%4 of group r*ceil(cols/4) + j/4,
// and stays when its random word is at least p*2^32.
func (s DropoutState) Keep(rows, cols int, p float64) []bool {
	keep := make([]bool, rows*cols)
	threshold := uint32(math.Round(p * 0x1p32))
	for i := range keep {
		group := uint32(i/cols*((cols+3)/4) + i%cols/4)
		words := Philox4x32([4]uint32{group, uint32(s.K), uint32(s.K >> 32), s.Number}, [2]uint32{uint32(s.Seed), uint32(s.Seed >> 32)})
		keep[i] = words[i%cols%4] >= threshold
	}
	return keep
}

// Dropout returns x scaled by 1/(1-p) where keep says so, else 0. It is its own backward pass.
func Dropout(x []float32, keep []bool, p float64) []float32 {
	y := make([]float32, len(x))
	for i, e := range x {
		if keep[i] {
			y[i] = e * float32(1/(1-p))
		}
	}
	return y
}
