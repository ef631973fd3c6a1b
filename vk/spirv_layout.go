package vk

import "fmt"

// layout is how a type lies in memory, in bytes.
type layout struct{ size, align int64 }

// mostBytes is where sizes end: no device has so much of the memory that is measured here, and the product of it with a
// 32-bit length does not overflow.
const mostBytes = 1 << 30

// layouts lays types out, those it understands, by their decorations or else, as Vulkan counts workgroup memory, by the
// rules of std430. One pass over what is declared: a type or constant that is made of something behind it is not valid,
// and not understood.
func (m *module) layouts(spec map[uint32]uint32) map[uint32]layout {
	known, values := map[uint32]layout{}, m.values(spec)
	for _, id := range m.declared {
		if t, ok := m.types[id]; ok {
			if l, ok := m.layout(id, t, known, values); ok && l.size <= mostBytes {
				known[id] = l
			}
		}
	}
	return known
}

// values are those of the scalar constants, as far as they are understood: see layouts.
func (m *module) values(spec map[uint32]uint32) map[uint32]uint32 {
	known := map[uint32]uint32{}
	for _, id := range m.declared {
		if c, ok := m.constants[id]; ok {
			if v, ok := m.value(id, c, spec, known); ok {
				known[id] = v
			}
		}
	}
	return known
}

// layout lays out the type t, number id.
func (m *module) layout(id uint32, t []uint32, known map[uint32]layout, values map[uint32]uint32) (layout, bool) {
	switch t[0] {
	case opTypeBool:
		return layout{4, 4}, true
	case opTypeInt, opTypeFloat:
		bytes := int64(t[1]) / 8
		return layout{bytes, bytes}, bytes > 0
	case opTypeVector, opTypeMatrix: // a matrix as an array of columns
		part, ok := known[t[1]]
		if !ok {
			return layout{}, false
		}
		n := int64(min(max(t[2], 2), 4))
		if t[0] == opTypeMatrix {
			return layout{n * roundUp(part.size, part.align), part.align}, true
		}
		return layout{n * part.size, (n + n&1) * part.align}, true
	case opTypeArray:
		item, ok := known[t[1]]
		length, constant := values[t[2]]
		if !ok || !constant {
			return layout{}, false
		}
		stride := roundUp(item.size, item.align)
		if decorated, ok := m.decorated[target{id, -1, decorationArrayStride}]; ok {
			stride = min(int64(decorated), mostBytes)
		}
		return layout{int64(length) * stride, item.align}, true
	case opTypeStruct:
		return m.structLayout(id, t[1:], known)
	}
	return layout{}, false
}

func (m *module) structLayout(id uint32, members []uint32, known map[uint32]layout) (layout, bool) {
	all := layout{0, 1}
	for i, member := range members {
		l, ok := known[member]
		if !ok {
			return layout{}, false
		}
		offset := roundUp(all.size, l.align)
		if decorated, ok := m.decorated[target{id, i, decorationOffset}]; ok {
			offset = int64(decorated)
		}
		if stride, ok := m.decorated[target{id, i, decorationMatrixStride}]; ok && m.types[member][0] == opTypeMatrix {
			l.size = int64(stride) * int64(min(m.types[member][2], 4))
		}
		all = layout{max(all.size, offset+l.size), max(all.align, l.align)}
		if all.size > mostBytes {
			return layout{}, false
		}
	}
	return all, true
}

// Operations that a specialization constant may be made by, those of sizes and comparisons.
const (
	opIAdd   = 128
	opISub   = 130
	opIMul   = 132
	opUDiv   = 134
	opUMod   = 137
	opSelect = 169

	opLogicalOr         = 166
	opLogicalAnd        = 167
	opLogicalNot        = 168
	opIEqual            = 170
	opINotEqual         = 171
	opUGreaterThan      = 172
	opUGreaterThanEqual = 174
	opULessThan         = 176
	opULessThanEqual    = 178
	opBitwiseAnd        = 199
)

// value is what the scalar constant c, number id, is with the specialization constants' values; known are those before it.
func (m *module) value(id uint32, c []uint32, spec, known map[uint32]uint32) (uint32, bool) {
	v, ok := uint32(0), true
	switch c[0] {
	case opConstantTrue, opSpecConstantTrue:
		v = 1
	case opConstantFalse, opSpecConstantFalse:
	case opConstant, opSpecConstant:
		v, ok = c[2], len(c) == 3 // not 64 bits
	case opSpecConstantOp:
		return m.operation(c, known)
	default:
		return 0, false
	}
	if specID, decorated := m.decorated[target{id, -1, decorationSpecID}]; decorated {
		set, given := spec[specID]
		switch {
		case given && c[0] == opSpecConstant:
			v = set
		case given:
			v = truth(set != 0)
		}
	}
	return v, ok
}

func (m *module) operation(c []uint32, known map[uint32]uint32) (uint32, bool) {
	var x [3]uint32
	for i, id := range c[3:min(len(c), 6)] {
		v, ok := known[id]
		if !ok {
			return 0, false
		}
		x[i] = v
	}
	switch c[2] {
	case opIAdd:
		return x[0] + x[1], true
	case opISub:
		return x[0] - x[1], true
	case opIMul:
		return x[0] * x[1], true
	case opUDiv:
		return x[0] / max(x[1], 1), x[1] != 0
	case opUMod:
		return x[0] % max(x[1], 1), x[1] != 0
	case opBitwiseAnd:
		return x[0] & x[1], true
	case opIEqual:
		return truth(x[0] == x[1]), true
	case opINotEqual:
		return truth(x[0] != x[1]), true
	case opUGreaterThan:
		return truth(x[0] > x[1]), true
	case opUGreaterThanEqual:
		return truth(x[0] >= x[1]), true
	case opULessThan:
		return truth(x[0] < x[1]), true
	case opULessThanEqual:
		return truth(x[0] <= x[1]), true
	case opLogicalNot:
		return x[0] ^ 1, true
	case opLogicalAnd:
		return x[0] & x[1], true
	case opLogicalOr:
		return x[0] | x[1], true
	case opSelect:
		if x[0] != 0 {
			return x[1], true
		}
		return x[2], true
	}
	return 0, false
}

func truth(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// sharedMemory is how many bytes the variables of a workgroup take, with the specialization constants' values.
func (s *shader) sharedMemory(spec map[uint32]uint32) (int64, error) {
	var sum int64
	var known map[uint32]layout
	for _, v := range s.module.variables {
		if v[2] != classWorkgroup {
			continue
		}
		if known == nil {
			known = s.module.layouts(spec)
		}
		l, ok := known[s.module.pointee(v[1])]
		if !ok {
			return 0, fmt.Errorf("the size of the shared variable %d is not understood, or above %d bytes", v[0], mostBytes)
		}
		sum = roundUp(sum, l.align) + l.size
	}
	return sum, nil
}
