package opstest

import (
	"fmt"
	"math"
)

// F16 returns the bits of the IEEE half-precision number nearest to x, ties to even. Too large becomes infinite, NaN
// stays NaN, subnormals are kept.
func F16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7FFFFFFF
	switch {
	case b > 0x7F800000:
		return sign | 0x7E00
	case b >= 0x477FF000: // 65520, half-way from the largest number to the next power of two
		return sign | 0x7C00
	case b >= 0x38800000: // 2^-14, the smallest normal number
		return sign | uint16(shiftToEven(b-0x38000000, 13))
	case b < 0x33000000: // 2^-25, half the smallest subnormal
		return sign
	}
	// The value is mantissa * 2^(exponent-150), and a subnormal half counts units of 2^-24.
	return sign | uint16(shiftToEven(b&0x7FFFFF|0x800000, 126-b>>23))
}

// F16ToF32 returns the value of a half-precision number.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, mantissa := uint32(h>>10&0x1F), uint32(h&0x3FF)
	switch exponent {
	case 0:
		x := float32(mantissa) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(x))
	case 31:
		return math.Float32frombits(sign | 0x7F800000 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
}

// BF16 returns the bits of the bfloat16 number nearest to x, ties to even. NaN stays NaN, subnormals are kept.
func BF16(x float32) uint16 {
	b := math.Float32bits(x)
	if b&0x7FFFFFFF > 0x7F800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16(shiftToEven(b, 16))
}

// BF16ToF32 returns the value of a bfloat16 number.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// shiftToEven returns x / 2^shift rounded to the nearest integer, ties to even; shift > 0.
func shiftToEven(x, shift uint32) uint32 {
	q, rest, half := x>>shift, x&(1<<shift-1), uint32(1)<<(shift-1)
	if rest > half || rest == half && q&1 == 1 {
		q++
	}
	return q
}

// Round returns x as it reads back after storage in dtype ("f32", "f16", "bf16").
func Round(dtype string, x []float32) []float32 {
	if dtype == "f32" {
		return append([]float32(nil), x...)
	}
	y := make([]float32, len(x))
	for i, b := range Bits(dtype, x) {
		if dtype == "f16" {
			y[i] = F16ToF32(b)
		} else {
			y[i] = BF16ToF32(b)
		}
	}
	return y
}

// Bits returns x in the bits of a 16-bit storage type ("f16", "bf16"). Another name is a mistake in the test: it panics.
func Bits(dtype string, x []float32) []uint16 {
	convert := BF16
	switch dtype {
	case "f16":
		convert = F16
	case "bf16":
	default:
		panic(fmt.Sprintf("opstest: no 16-bit storage type %q", dtype))
	}
	y := make([]uint16, len(x))
	for i, e := range x {
		y[i] = convert(e)
	}
	return y
}

// Epsilon returns the largest relative error of rounding a normal number to dtype: half the distance between neighbours.
func Epsilon(dtype string) float64 {
	switch dtype {
	case "f32":
		return 0x1p-24
	case "f16":
		return 0x1p-11
	case "bf16":
		return 0x1p-8
	}
	panic(fmt.Sprintf("opstest: no storage type %q", dtype))
}
