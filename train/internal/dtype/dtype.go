// Package dtype knows the types of values in files, by the names that safetensors
// has for them, and the values themselves: little-endian, row-major.
package dtype

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Size is the number of bytes of one value of each type.
var Size = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4,
	"U64": 8, "I64": 8, "F64": 8,
}

// MaxDims is far above the number of dimensions of any tensor; NumPy has 64.
const MaxDims = 64

// Floating reports whether values of a type are read as parameters: F32, F16 or BF16.
func Floating(dtype string) bool { return dtype == "F32" || dtype == "F16" || dtype == "BF16" }

// Float32 returns the first value of b, of type F32, F16, BF16 or F64; only F64 is rounded.
func Float32(dtype string, b []byte) float32 {
	switch dtype {
	case "F32":
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case "F64":
		return float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case "BF16":
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	}
	// f16: sign, 5 bits of exponent with bias 15, 10 bits of fraction.
	h := uint32(binary.LittleEndian.Uint16(b))
	sign, exponent, fraction := h>>15<<31, h>>10&31, h&1023
	switch exponent {
	case 0: // subnormal: fraction * 2^-24, exact in float32
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 31: // infinite or NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// Floats returns the values of raw, of type F32, F16 or BF16.
func Floats(dtype string, raw []byte) []float32 {
	size := int(Size[dtype])
	values := make([]float32, len(raw)/size)
	for i := range values {
		values[i] = Float32(dtype, raw[i*size:])
	}
	return values
}

// FirstNonFinite returns the index of the first NaN or infinity of type
// F32, F16 or BF16, or -1: the
// exponent's bits are all set.
func FirstNonFinite(dtype string, raw []byte) int {
	if dtype == "F32" {
		for i := 0; i+4 <= len(raw); i += 4 {
			if ^binary.LittleEndian.Uint32(raw[i:])&0x7f800000 == 0 {
				return i / 4
			}
		}
		return -1
	}
	exponent := uint16(0x7f80)
	if dtype == "F16" {
		exponent = 0x7c00
	}
	for i := 0; i+2 <= len(raw); i += 2 {
		if ^binary.LittleEndian.Uint16(raw[i:])&exponent == 0 {
			return i / 2
		}
	}
	return -1
}

// CheckFinite reports the first value that is NaN or infinite and where it is in the
// tensor of that shape.
func CheckFinite(values []float32, shape []int) error {
	for i, v := range values {
		if v-v != 0 {
			return fmt.Errorf("the value at %v is %v", IndexOf(i, shape), v)
		}
	}
	return nil
}

// IndexOf returns the index in each dimension of value i of a tensor.
func IndexOf(i int, shape []int) []int {
	index := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		index[d] = i % shape[d]
		i /= shape[d]
	}
	return index
}
