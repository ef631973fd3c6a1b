package ops

import (
	"fmt"
	"math"
)

// DType is how a tensor's values are stored. All arithmetic is f32.
type DType uint8

// The storage types. F16 is IEEE binary16, BF16 the upper half of a float32.
const (
	F32 DType = iota
	F16
	BF16
	I32
	U32
	U16
)

var dtypes = [...]struct {
	name string
	size int
}{{"f32", 4}, {"f16", 2}, {"bf16", 2}, {"i32", 4}, {"u32", 4}, {"u16", 2}}

// Size returns the bytes of one value.
func (d DType) Size() int { return dtypes[d].size }

// Float reports whether d stores real numbers, in rows padded to four values.
func (d DType) Float() bool { return d <= BF16 }

// String returns the name that kernels use for d, such as "bf16".
func (d DType) String() string {
	if int(d) >= len(dtypes) {
		return fmt.Sprintf("dtype(%d)", uint8(d))
	}
	return dtypes[d].name
}

// holds reports whether v is a value of the integer type d.
func (d DType) holds(v float32) bool {
	limits := map[DType][2]float64{I32: {math.MinInt32, math.MaxInt32}, U32: {0, math.MaxUint32}, U16: {0, math.MaxUint16}}[d]
	x := float64(v)
	return x == math.Trunc(x) && limits[0] <= x && x <= limits[1]
}

// Number lists the Go types that [Upload] and [Download] move. float32 converts
// to and from every float storage type, rounding to nearest even; uint16 is the
// raw bits of a 16-bit type; the integers match I32, U32 and U16.
type Number interface {
	float32 | int32 | uint32 | uint16
}

// Bits returns a number as a 16-bit float type stores it, rounded to nearest even.
func (d DType) Bits(f float32) uint16 {
	if d == F16 {
		return toF16(f)
	}
	return toBF16(f)
}

// toF16 rounds to binary16, to nearest even, keeping subnormals, infinities and NaN.
func toF16(f float32) uint16 {
	b := f32bits(f)
	sign := uint16(b>>16) & 0x8000
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN: keep it quiet
		return sign | 0x7e00
	case abs >= 0x477ff000: // rounds past 65504
		return sign | 0x7c00
	case abs >= 0x38800000: // normal
		abs -= 112 << 23
		return sign | uint16((abs+0xfff+(abs>>13&1))>>13)
	case abs <= 0x33000000: // at most half of the smallest subnormal: ties go to zero
		return sign
	}
	shift := 126 - abs>>23 // 14..24
	m := abs&0x7fffff | 0x800000
	half := uint32(1) << (shift - 1)
	return sign | uint16((m+half-1+(m>>shift&1))>>shift)
}

func fromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, m := uint32(h>>10&31), uint32(h&0x3ff)
	switch {
	case exp == 31:
		return f32from(sign | 0x7f800000 | m<<13)
	case exp == 0:
		f := float32(m) / (1 << 24)
		return f32from(sign | f32bits(f))
	}
	return f32from(sign | (exp+112)<<23 | m<<13)
}

// toBF16 rounds to the upper half of a float32, to nearest even.
func toBF16(f float32) uint16 {
	b := f32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b >> 16 & 1)) >> 16)
}

func fromBF16(h uint16) float32 { return f32from(uint32(h) << 16) }
