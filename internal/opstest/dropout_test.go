package opstest

import "testing"

// The known answers of Random123's kat_vectors.
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox4x32(c.counter, c.key); got != c.want {
			t.Errorf("philox(%x, %x) = %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

func TestDropoutKeepsAsManyAsAsked(t *testing.T) {
	const rows, cols = 1000, 101
	for _, p := range []float64{0, 0.1, 0.5, 0.9} {
		kept := 0
		for _, k := range (DropoutState{K: 3, Seed: 1 << 40, Number: 2}).Keep(rows, cols, p) {
			if k {
				kept++
			}
		}
		Close(t, []float64{float64(kept) / (rows * cols)}, []float64{1 - p}, 0.005)
	}
	Close(t, Dropout([]float32{1, 2, 3}, []bool{true, false, true}, 0.5), []float32{2, 0, 6}, 0)
}
