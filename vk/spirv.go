package vk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	vulkan "github.com/vulkan-go/vulkan"
)

// shader is what this package needs to know of a SPIR-V module.
type shader struct {
	words       []uint32
	access      []Access       // by argument
	descriptors []descriptor   // by binding number, set 0
	pushBytes   int            // size of the push-constant block
	local       [3]uint32      // workgroup size where no specialization constant sets it
	localSpec   [3]int64       // the constant's id per dimension, -1: none
	specWidth   map[uint32]int // bits of each specialization constant, by its id
	module      *module
}

// Numbers of the SPIR-V specification, section 3.
const (
	spirvMagic    = 0x07230203
	newestVersion = 1<<16 | 3<<8 // that Vulkan 1.1 has, which is what devices are opened as

	opEntryPoint            = 15
	opExecutionMode         = 16
	opCapability            = 17
	opTypeBool              = 20
	opTypeInt               = 21
	opTypeFloat             = 22
	opTypeVector            = 23
	opTypeMatrix            = 24
	opTypeImage             = 25
	opTypeArray             = 28
	opTypeRuntimeArray      = 29
	opTypeStruct            = 30
	opTypePointer           = 32
	opConstantTrue          = 41
	opConstantFalse         = 42
	opConstant              = 43
	opConstantComposite     = 44
	opSpecConstantTrue      = 48
	opSpecConstantFalse     = 49
	opSpecConstant          = 50
	opSpecConstantComposite = 51
	opSpecConstantOp        = 52
	opVariable              = 59
	opDecorate              = 71
	opMemberDecorate        = 72

	executionGLCompute = 5
	modeLocalSize      = 17

	decorationSpecID        = 1
	decorationBlock         = 2
	decorationBufferBlock   = 3
	decorationBuiltIn       = 11
	decorationNonWritable   = 24
	decorationNonReadable   = 25
	decorationBinding       = 33
	decorationDescriptorSet = 34
	decorationOffset        = 35
	decorationArrayStride   = 6
	decorationMatrixStride  = 7

	builtInWorkgroupSize = 25

	dimBuffer    = 5
	imageSampled = 1 // as opposed to one that is written to

	classUniformConstant = 0
	classUniform         = 2
	classWorkgroup       = 4
	classPushConstant    = 9
	classStorageBuffer   = 12
)

// target is an id (member -1) or a member of a struct, with a decoration.
type target struct {
	id         uint32
	member     int
	decoration uint32
}

// module is a SPIR-V module taken apart: instructions by result id.
type module struct {
	capabilities []uint32
	types        map[uint32][]uint32 // opcode, then the operands after the result id
	constants    map[uint32][]uint32 // opcode, result type, operands
	declared     []uint32            // the ids of types and constants, in their order: what one is made of comes before it
	variables    [][3]uint32         // id, pointer type, storage class
	decorated    map[target]uint32   // the decoration's first literal, 0 without
	mainID       uint32
	local        [3]uint32
}

// readSPIRV reads the interface of a compute shader. It accepts what glslc makes of a shader with one
// entry point main, in set 0 a buffer for each argument, numbered from 0 without a gap (see descriptor), and at
// most one push-constant block.
func readSPIRV(code []byte) (*shader, error) {
	words, err := spirvWords(code)
	if err != nil {
		return nil, err
	}
	m, err := parseModule(words)
	if err != nil {
		return nil, err
	}
	s := &shader{words: words, module: m, local: m.local, localSpec: [3]int64{-1, -1, -1}, specWidth: map[uint32]int{}}
	if err := s.readVariables(m); err != nil {
		return nil, err
	}
	return s, s.readConstants(m)
}

func spirvWords(code []byte) ([]uint32, error) {
	if len(code) < 20 || len(code)%4 != 0 {
		return nil, fmt.Errorf("not SPIR-V: %d bytes", len(code))
	}
	words := make([]uint32, len(code)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(code[4*i:])
	}
	if words[0] != spirvMagic {
		return nil, fmt.Errorf("not SPIR-V: starts with %#08x, want %#08x", words[0], uint32(spirvMagic))
	}
	if v := words[1]; v > newestVersion {
		return nil, fmt.Errorf("SPIR-V %d.%d, Vulkan 1.1 reads up to 1.3: compile with glslc --target-env=vulkan1.1", v>>16, v>>8&0xff)
	}
	return words, nil
}

// fewest is the least number of words, after the first, of each instruction that parseModule looks into.
var fewest = map[uint32]int{
	opCapability: 1, opEntryPoint: 3, opExecutionMode: 2, opTypeBool: 1, opTypeInt: 3, opTypeFloat: 2, opTypeVector: 3,
	opTypeMatrix: 3, opTypeImage: 8, opTypeArray: 3, opTypeRuntimeArray: 2, opTypeStruct: 1, opTypePointer: 3,
	opConstantTrue: 2, opConstantFalse: 2, opConstant: 3, opConstantComposite: 2, opSpecConstantOp: 3, opSpecConstant: 3, opSpecConstantTrue: 2, opSpecConstantFalse: 2,
	opSpecConstantComposite: 2, opVariable: 3, opDecorate: 2, opMemberDecorate: 3,
}

func parseModule(words []uint32) (*module, error) {
	m := &module{
		types:     map[uint32][]uint32{},
		constants: map[uint32][]uint32{},
		decorated: map[target]uint32{},
		local:     [3]uint32{1, 1, 1},
	}
	for at := 5; at < len(words); {
		op, n := words[at]&0xffff, int(words[at]>>16)
		if n == 0 || n > len(words)-at {
			return nil, fmt.Errorf("damaged SPIR-V: instruction of %d words at word %d of %d", n, at, len(words))
		}
		args := words[at+1 : at+n]
		if len(args) < fewest[op] {
			return nil, fmt.Errorf("damaged SPIR-V: opcode %d with %d operands at word %d", op, len(args), at)
		}
		if err := m.add(op, args); err != nil {
			return nil, err
		}
		at += n
	}
	if m.mainID == 0 {
		return nil, errors.New("SPIR-V without a compute entry point")
	}
	return m, nil
}

func (m *module) add(op uint32, args []uint32) error {
	switch op {
	case opCapability:
		m.capabilities = append(m.capabilities, args[0])
	case opEntryPoint:
		// The name is NUL-terminated, four characters to a word.
		if args[0] != executionGLCompute {
			return fmt.Errorf("SPIR-V entry point of execution model %d, not a compute shader", args[0])
		}
		if len(args) < 4 || args[2] != 0x6e69616d || args[3] != 0 || m.mainID != 0 {
			return errors.New("SPIR-V with an entry point other than main")
		}
		m.mainID = args[1]
	case opExecutionMode:
		if args[1] == modeLocalSize && len(args) >= 5 {
			copy(m.local[:], args[2:5])
		}
	case opTypeBool, opTypeInt, opTypeFloat, opTypeVector, opTypeMatrix, opTypeImage, opTypeArray, opTypeRuntimeArray, opTypeStruct, opTypePointer:
		m.types[args[0]] = append([]uint32{op}, args[1:]...)
		m.declared = append(m.declared, args[0])
	case opConstant, opConstantTrue, opConstantFalse, opConstantComposite,
		opSpecConstant, opSpecConstantTrue, opSpecConstantFalse, opSpecConstantComposite, opSpecConstantOp:
		m.constants[args[1]] = append([]uint32{op, args[0]}, args[2:]...)
		m.declared = append(m.declared, args[1])
	case opVariable:
		m.variables = append(m.variables, [3]uint32{args[1], args[0], args[2]})
	case opDecorate:
		m.decorated[target{args[0], -1, args[1]}] = first(args[2:])
	case opMemberDecorate:
		m.decorated[target{args[0], int(args[1]), args[2]}] = first(args[3:])
	}
	return nil
}

func first(words []uint32) uint32 {
	if len(words) == 0 {
		return 0
	}
	return words[0]
}

// readVariables finds the buffers and the push-constant block.
func (s *shader) readVariables(m *module) error {
	access, descriptors := map[int]Access{}, map[uint32]descriptor{}
	for _, v := range m.variables {
		id, class := v[0], v[2]
		switch class {
		case classPushConstant:
			block, ok := m.layouts(nil)[m.pointee(v[1])]
			if !ok {
				return fmt.Errorf("push constants: type %d is not understood", m.pointee(v[1]))
			}
			s.pushBytes = int(roundUp(block.size, 4))
		case classStorageBuffer, classUniform, classUniformConstant:
			d, mode, err := m.bufferOf(id, v[1], class)
			if err != nil {
				return err
			}
			access[d.arg] |= mode
			descriptors[d.binding] = d
		}
	}
	s.access = make([]Access, len(access))
	for arg := range s.access {
		mode, ok := access[arg]
		if !ok {
			return fmt.Errorf("binding %d is missing among %d: the shader does not use it, or numbers start elsewhere", arg, len(access))
		}
		s.access[arg] = mode
	}
	for _, binding := range slices.Sorted(maps.Keys(descriptors)) {
		s.descriptors = append(s.descriptors, descriptors[binding])
	}
	return nil
}

// bufferOf describes a buffer, a variable of the pointer type and storage class.
func (m *module) bufferOf(id, pointer, class uint32) (d descriptor, mode Access, err error) {
	set, binding := m.decorated[target{id, -1, decorationDescriptorSet}], m.decorated[target{id, -1, decorationBinding}]
	d = descriptor{binding: binding, arg: int(binding)}
	switch {
	case set != 0:
		err = fmt.Errorf("binding %d is in descriptor set %d; kernels use set 0 only", binding, set)
	case class == classUniform && !m.isBufferBlock(m.pointee(pointer)):
		err = fmt.Errorf("binding %d is a uniform buffer; kernels use storage and texel buffers only", binding)
	case class == classStorageBuffer, class == classUniform:
		if binding >= texelBindings {
			err = fmt.Errorf("binding %d is a storage buffer, which have 0 to %d", binding, texelBindings-1)
		}
		mode = m.accessOf(id, m.pointee(pointer))
	default:
		d.arg -= texelBindings
		if d.texel = m.texelOf(m.pointee(pointer)); !d.isTexel() {
			err = fmt.Errorf("binding %d is an image or sampler; kernels use storage and texel buffers only", binding)
		} else if d.arg < 0 || d.arg >= texelBindings {
			err = fmt.Errorf("binding %d is a texel buffer, which have %d to %d", binding, texelBindings, 2*texelBindings-1)
		}
		mode = Read
	}
	return d, mode, err
}

// isBufferBlock reports whether a block of the storage class Uniform is a storage buffer, as before SPIR-V 1.3.
func (m *module) isBufferBlock(block uint32) bool {
	_, ok := m.decorated[target{block, -1, decorationBufferBlock}]
	return ok
}

// texelOf is the format of a texel buffer of the type; FormatUndefined where it is something else.
func (m *module) texelOf(typ uint32) vulkan.Format {
	t := m.types[typ]
	if len(t) < 8 || t[0] != opTypeImage || t[2] != dimBuffer || t[6] != imageSampled {
		return vulkan.FormatUndefined
	}
	switch item := m.types[t[1]]; {
	case len(item) >= 2 && item[0] == opTypeFloat && item[1] == 32:
		return floatTexels
	case len(item) >= 3 && item[0] == opTypeInt && item[1] == 32 && item[2] == 0:
		return uintTexels
	}
	return vulkan.FormatUndefined
}

// accessOf reads readonly and writeonly, which compilers put on the variable or on every member.
func (m *module) accessOf(variable, block uint32) Access {
	all := func(decoration uint32) bool {
		if _, ok := m.decorated[target{variable, -1, decoration}]; ok {
			return true
		}
		t := m.types[block]
		if len(t) < 2 || t[0] != opTypeStruct {
			return false
		}
		for i := range t[1:] {
			if _, ok := m.decorated[target{block, i, decoration}]; !ok {
				return false
			}
		}
		return true
	}
	a := Read | Write
	if all(decorationNonWritable) {
		a &^= Write
	}
	if all(decorationNonReadable) {
		a &^= Read
	}
	return a
}

func (m *module) pointee(pointer uint32) uint32 {
	if t := m.types[pointer]; len(t) == 3 && t[0] == opTypePointer {
		return t[2]
	}
	return 0
}

// readConstants finds the specialization constants and those that set the workgroup size.
func (s *shader) readConstants(m *module) error {
	for id, c := range m.constants {
		specID, ok := m.decorated[target{id, -1, decorationSpecID}]
		switch {
		case !ok:
		case c[0] == opSpecConstantTrue, c[0] == opSpecConstantFalse:
			s.specWidth[specID] = 32 // VkBool32
		case c[0] == opSpecConstant:
			if t := m.types[c[1]]; len(t) >= 2 {
				s.specWidth[specID] = int(t[1])
			}
		}
		if m.decorated[target{id, -1, decorationBuiltIn}] != builtInWorkgroupSize || len(c) != 5 {
			continue
		}
		for i, part := range c[2:] {
			value := m.constants[part]
			if len(value) < 3 {
				return fmt.Errorf("workgroup size %d is not a constant", i)
			}
			s.local[i] = value[2]
			if specID, ok := m.decorated[target{part, -1, decorationSpecID}]; ok {
				s.localSpec[i] = int64(specID)
			}
		}
	}
	return nil
}

// workgroup is the workgroup size with the specialization constants' values.
func (s *shader) workgroup(spec map[uint32]uint32) [3]uint32 {
	local := s.local
	for i, id := range s.localSpec {
		if v, ok := spec[uint32(id)]; id >= 0 && ok {
			local[i] = v
		}
	}
	return local
}

// specConstants are the ids and values of spec that the module has, sorted by id.
func (s *shader) specConstants(spec map[uint32]uint32) (ids, values []uint32, err error) {
	for id := range spec {
		switch s.specWidth[id] {
		case 0:
		case 32:
			ids = append(ids, id)
		default:
			return nil, nil, fmt.Errorf("specialization constant %d has %d bits, want 32", id, s.specWidth[id])
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		values = append(values, spec[id])
	}
	return ids, values, nil
}
