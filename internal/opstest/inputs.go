// Package opstest holds what the tests of ops, optim and train share: inputs that need no storing, references in
// float64 written for reading, comparisons, and the golden cases made with PyTorch.
//
// Nothing but tests imports it, and it imports nothing of this module, so that tests inside those packages can use it.
// Tensors are dense slices in row-major order without padding. A storage type is named as ops names it: "f32", "f16",
// "bf16"; values of the 16-bit types travel as the float32 they stand for (Round).
//
// The golden values are the .json files in ops/testdata and optim/testdata, written by the golden.py beside them. The
// tests of this package hold the references against the golden values and their gradients against finite differences;
// after that a test elsewhere may trust either: the golden values where a few numbers do, the reference where every
// value counts.
package opstest

import "fmt"

// Float is the type of a value the references take.
type Float interface{ ~float32 | ~float64 }

// F64 returns x in float64.
func F64[F Float](x []F) []float64 {
	y := make([]float64, len(x))
	for i, e := range x {
		y[i] = float64(e)
	}
	return y
}

// F32 returns x rounded to float32.
func F32[F Float](x []F) []float32 {
	y := make([]float32, len(x))
	for i, e := range x {
		y[i] = float32(e)
	}
	return y
}

// golden is 2^32 over the golden ratio, made odd.
const golden = 0x9E3779B9

// mix is the finalizer of MurmurHash3.
func mix(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85EBCA6B
	x ^= x >> 13
	x *= 0xC2B2AE35
	return x ^ x>>16
}

// Hash returns value i of a stream: the same 32 bits as streams.py in ops/testdata makes.
func Hash(stream, i uint32) uint32 { return mix(mix(stream+golden) + i*golden) }

// Uniform returns the first n values of a stream as float32 in [-limit, limit): 24 bits of the hash as a signed
// integer, times limit/2^23, which is the only rounding.
func Uniform(stream uint32, n int, limit float32) []float32 {
	x := make([]float32, n)
	scale := limit * 0x1p-23
	for i := range x {
		x[i] = float32(int32(Hash(stream, uint32(i))>>8)-1<<23) * scale
	}
	return x
}

// IDs returns the first n values of a stream as token ids in [0, v).
func IDs(stream uint32, n, v int) []int32 {
	t := make([]int32, n)
	for i := range t {
		t[i] = int32(Hash(stream, uint32(i)) % uint32(v))
	}
	return t
}

// vector describes an input as the golden files do: the values of a stream, then base added, then Set.
type vector struct {
	N      int     `json:"n"`
	Stream uint32  `json:"stream"`
	Range  float32 `json:"range"`
	Base   float32 `json:"base"`
	Set    []piece `json:"set"`
}

// piece replaces the values from start up to end.
type piece struct {
	start, end int
	value      float64
}

// UnmarshalJSON reads [start, end, value].
func (p *piece) UnmarshalJSON(data []byte) error {
	list, err := parseFloats(data)
	if err != nil {
		return err
	}
	if len(list) != 3 {
		return fmt.Errorf("opstest: a piece is [start, end, value], have %s", data)
	}
	*p = piece{int(list[0]), int(list[1]), list[2]}
	return nil
}

// make returns the n values, rounded to the storage type.
func (d vector) make(n int, dtype string) []float32 {
	x := make([]float32, n)
	if d.Range != 0 {
		x = Uniform(d.Stream, n, d.Range)
	}
	if d.Base != 0 {
		for i := range x {
			x[i] += d.Base
		}
	}
	for _, p := range d.Set {
		for i := p.start; i < p.end; i++ {
			x[i] = float32(p.value)
		}
	}
	return Round(dtype, x)
}

// integers returns n token ids: those of the stream, then Set.
func (d vector) integers(n, v int) []int32 {
	t := IDs(d.Stream, n, v)
	for _, p := range d.Set {
		for i := p.start; i < p.end; i++ {
			t[i] = int32(p.value)
		}
	}
	return t
}
