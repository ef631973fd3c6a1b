package shaders

import "encoding/binary"

// Numbers of the SPIR-V specification.
const (
	opCapability          = 17
	opCopyObject          = 83
	opGroupNonUniformIAdd = 349 // the first of the reductions and scans
	opGroupNonUniformLast = 364 // OpGroupNonUniformLogicalXor

	capabilityArithmetic = 63
)

// WithoutArithmetic returns the SPIR-V of a kernel for a device without subgroup arithmetic, which may not even see it: each
// subgroup reduction is a copy of its operand. Kernels don't come to them as long as specialization constant 3 is 0.
func WithoutArithmetic(code []byte) []byte {
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(code[at:]) }
	const header = 20
	basic := append(make([]byte, 0, len(code)), code[:header]...)
	for at, size := header, 0; at < len(code); at += size {
		op := word(at) & 0xffff
		size = 4 * int(word(at)>>16)
		switch {
		case op == opCapability && word(at+4) == capabilityArithmetic:
		case op >= opGroupNonUniformIAdd && op <= opGroupNonUniformLast: // type, result, scope, operation, value
			basic = binary.LittleEndian.AppendUint32(basic, 4<<16|opCopyObject)
			basic = append(append(basic, code[at+4:at+12]...), code[at+20:at+24]...)
		default:
			basic = append(basic, code[at:at+size]...)
		}
	}
	return basic
}
