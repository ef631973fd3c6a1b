package vk

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	code, err := os.ReadFile("testdata/" + name + ".spv")
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestReadSPIRV(t *testing.T) {
	tests := []struct {
		name      string
		access    []Access
		pushBytes int
		spec      map[uint32]uint32
		local     [3]uint32
		specWidth map[uint32]int
	}{
		{"scale", []Access{Read, Write}, 8, nil, [3]uint32{1, 1, 1}, map[uint32]int{0: 32, 10: 32}},
		{"scale", []Access{Read, Write}, 8, map[uint32]uint32{0: 128, 3: 8}, [3]uint32{128, 1, 1}, map[uint32]int{0: 32, 10: 32}},
		{"increment", []Access{Read | Write}, 0, map[uint32]uint32{0: 128}, [3]uint32{64, 1, 1}, map[uint32]int{}},
		{"spin", []Access{Read | Write}, 4, nil, [3]uint32{1, 1, 1}, map[uint32]int{}},
		{"shared", []Access{Read | Write}, 0, map[uint32]uint32{0: 128}, [3]uint32{128, 1, 1}, map[uint32]int{0: 32}},
		{"texel", []Access{Read, Read, Read | Write}, 4, nil, [3]uint32{64, 1, 1}, map[uint32]int{}},
		// push.comp's block holds scalars, vectors, a matrix and an array; its bindings are declared in reverse.
		{"push", []Access{Write, Read}, 84, map[uint32]uint32{1: 3, 2: 5}, [3]uint32{2, 3, 5}, map[uint32]int{1: 32, 2: 32}},
	}
	for _, test := range tests {
		s, err := readSPIRV(readTestdata(t, test.name))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if !reflect.DeepEqual(s.access, test.access) {
			t.Errorf("%s: access %v, want %v", test.name, s.access, test.access)
		}
		if s.pushBytes != test.pushBytes {
			t.Errorf("%s: %d bytes of push constants, want %d", test.name, s.pushBytes, test.pushBytes)
		}
		if got := s.workgroup(test.spec); got != test.local {
			t.Errorf("%s: workgroup %v with %v, want %v", test.name, got, test.spec, test.local)
		}
		if !reflect.DeepEqual(s.specWidth, test.specWidth) {
			t.Errorf("%s: specialization constants %v, want %v", test.name, s.specWidth, test.specWidth)
		}
	}
}

func TestSpecConstants(t *testing.T) {
	s, err := readSPIRV(readTestdata(t, "scale"))
	if err != nil {
		t.Fatal(err)
	}
	ids, values, err := s.specConstants(map[uint32]uint32{10: 7, 3: 8, 0: 64})
	if err != nil || !reflect.DeepEqual(ids, []uint32{0, 10}) || !reflect.DeepEqual(values, []uint32{64, 7}) {
		t.Errorf("ids %v, values %v, error %v; want [0 10], [64 7]: 3 is not the shader's", ids, values, err)
	}
	s.specWidth[10] = 64
	if _, _, err := s.specConstants(map[uint32]uint32{10: 7}); err == nil {
		t.Error("a 64-bit constant was accepted")
	}
}

// TestSharedMemory: workgroup memory is counted with the constants' values, see shared.comp.
func TestSharedMemory(t *testing.T) {
	for _, test := range []struct {
		name string
		spec map[uint32]uint32
		want int64
	}{{"shared", nil, 64*64 + 160}, {"shared", map[uint32]uint32{0: 253}, 64*253 + 160}, {"scale", nil, 0}} {
		s, err := readSPIRV(readTestdata(t, test.name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.sharedMemory(test.spec); err != nil || got != test.want {
			t.Errorf("%s with %v: %d bytes, error %v; want %d", test.name, test.spec, got, err, test.want)
		}
	}
	s, err := readSPIRV(readTestdata(t, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.sharedMemory(map[uint32]uint32{0: 1 << 28}); err == nil {
		t.Errorf("%d bytes: no error, though the sum overflows 32 bits", got)
	}
}

// TestDecided: no truth value is left to specialization, and its module is one that can be read again.
func TestDecided(t *testing.T) {
	s, err := readSPIRV(readTestdata(t, "decide"))
	if err != nil {
		t.Fatal(err)
	}
	code := make([]byte, 0, 4*len(s.words))
	for _, w := range s.decided(map[uint32]uint32{10: 1, 11: 3}) {
		code = binary.LittleEndian.AppendUint32(code, w)
	}
	after, err := readSPIRV(code)
	if err != nil {
		t.Fatal(err)
	}
	for id, c := range after.module.constants {
		if c[0] >= opSpecConstantTrue && c[0] <= opSpecConstantOp && after.module.types[c[1]][0] == opTypeBool {
			t.Errorf("constant %d is still specialized: %v", id, c)
		}
	}
	if s.specWidth[10] != 32 || after.specWidth[10] != 0 || after.specWidth[11] != 32 {
		t.Errorf("constants %v, then %v: want the truth value gone and the number there", s.specWidth, after.specWidth)
	}
}

// FuzzSPIRV: no input makes the reader panic, or take memory or time out of proportion.
func FuzzSPIRV(f *testing.F) {
	files, err := filepath.Glob("testdata/*.spv")
	if err != nil || len(files) == 0 {
		f.Fatalf("no modules: %v", err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(code, uint32(0), uint32(64))
	}
	f.Fuzz(func(t *testing.T, code []byte, id, value uint32) {
		s, err := readSPIRV(code)
		if err != nil {
			return
		}
		spec := map[uint32]uint32{id: value}
		s.workgroup(spec)
		if _, _, err := s.specConstants(spec); err != nil {
			return
		}
		s.decided(spec)
		if bytes, err := s.sharedMemory(spec); bytes < 0 || bytes > mostBytes*int64(len(s.module.variables)) {
			t.Errorf("%d bytes of shared memory, error %v", bytes, err)
		}
		if s.pushBytes < 0 || s.pushBytes > mostBytes || len(s.access) > len(code) || len(s.descriptors) > len(code) {
			t.Errorf("%d bytes of push constants, %d arguments, %d descriptors", s.pushBytes, len(s.access), len(s.descriptors))
		}
	})
}

// TestDescriptorBytes: what is bound has whole items, never less than asked for or more than a buffer's padding, and of a
// texel buffer a size that llvmpipe takes for no other kind of texture.
func TestDescriptorBytes(t *testing.T) {
	for _, d := range []descriptor{{}, {texel: uintTexels}, {texel: floatTexels}} {
		for _, size := range []int64{1, 4, 16, 200, 250, 255, 256, 1000, 65535, 65536, 65800, 1<<20 - 4, 1 << 20, 1<<27 + 255} {
			got := d.bytes(size)
			if got < size || got > (&Buffer{size: size}).capacity() || got%d.itemBytes() != 0 {
				t.Errorf("%d bytes for %d, items of %d", got, size, d.itemBytes())
			}
			if d.isTexel() && got&0xff00 == 0 {
				t.Errorf("view of %d bytes for %d", got, size)
			}
		}
	}
}

// edit returns the module with the first occurrence of the words old replaced.
func edit(t *testing.T, code []byte, old, new []uint32) []byte {
	t.Helper()
	pack := func(words []uint32) []byte {
		var b []byte
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	at := bytes.Index(code, pack(old))
	if at < 0 {
		t.Fatalf("words %x are not in the module", old)
	}
	return append(append(bytes.Clone(code[:at]), pack(new)...), code[at+4*len(old):]...)
}

// Before SPIR-V 1.3, and by default with glslc, a storage buffer is a uniform block with the decoration BufferBlock.
func TestReadSPIRVOfVulkan10(t *testing.T) {
	code := readTestdata(t, "scale")
	want, err := readSPIRV(code)
	if err != nil {
		t.Fatal(err)
	}
	code = edit(t, code, []uint32{newestVersion}, []uint32{1 << 16})
	blocks := map[uint32]bool{}
	for _, v := range want.module.variables {
		if v[2] == classStorageBuffer {
			code = edit(t, code, []uint32{v[1], v[0], classStorageBuffer}, []uint32{v[1], v[0], classUniform})
			blocks[want.module.pointee(v[1])] = true
		}
	}
	for id := range blocks {
		code = edit(t, code, []uint32{id, decorationBlock}, []uint32{id, decorationBufferBlock})
	}
	got, err := readSPIRV(code)
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) == 0 || !reflect.DeepEqual(got.access, want.access) || !reflect.DeepEqual(got.descriptors, want.descriptors) {
		t.Errorf("%d blocks, access %v of %v, want %v of %v", len(blocks), got.access, got.descriptors, want.access, want.descriptors)
	}
}

func TestReadSPIRVRejects(t *testing.T) {
	scale, texel := readTestdata(t, "scale"), readTestdata(t, "texel")
	m, err := parseModule(readWords(t, scale))
	if err != nil {
		t.Fatal(err)
	}
	var second uint32 // the variable with binding 1
	for at, literal := range m.decorated {
		if at.decoration == decorationBinding && literal == 1 {
			second = at.id
		}
	}
	var secondPointer uint32 // its type
	for _, v := range m.variables {
		if v[0] == second {
			secondPointer = v[1]
		}
	}
	texels, err := parseModule(readWords(t, texel))
	if err != nil {
		t.Fatal(err)
	}
	var unsigned uint32 // the type uint
	for id, typ := range texels.types {
		if reflect.DeepEqual(typ, []uint32{opTypeInt, 32, 0}) {
			unsigned = id
		}
	}
	bigEndian := bytes.Clone(scale)
	binary.BigEndian.PutUint32(bigEndian, spirvMagic)
	tests := []struct {
		name string
		code []byte
		want string
	}{
		{"empty", nil, "not SPIR-V: 0 bytes"},
		{"odd length", scale[:41], "not SPIR-V: 41 bytes"},
		{"big endian", bigEndian, "not SPIR-V: starts with"},
		{"text", []byte("#version 450\nvoid main() { }"), "not SPIR-V: starts with"},
		{"newer", edit(t, scale, []uint32{newestVersion}, []uint32{1<<16 | 6<<8}), "SPIR-V 1.6, Vulkan 1.1 reads up to 1.3: compile with glslc --target-env=vulkan1.1"},
		{"uniform buffer", edit(t, scale, []uint32{secondPointer, second, classStorageBuffer}, []uint32{secondPointer, second, classUniform}), "binding 1 is a uniform buffer"},
		{"header only", scale[:20], "without a compute entry point"},
		{"cut off", scale[:24], "damaged SPIR-V"},
		{"vertex shader", edit(t, scale, []uint32{executionGLCompute, m.mainID}, []uint32{0, m.mainID}), "execution model 0"},
		{"other entry point", edit(t, scale, []uint32{0x6e69616d}, []uint32{0x6e69616e}), "other than main"},
		{"gap in bindings", edit(t, scale, []uint32{second, decorationBinding, 1}, []uint32{second, decorationBinding, 2}), "binding 1 is missing"},
		{"other set", edit(t, scale, []uint32{second, decorationDescriptorSet, 0}, []uint32{second, decorationDescriptorSet, 3}), "descriptor set 3"},
		{"storage buffer above", edit(t, scale, []uint32{second, decorationBinding, 1}, []uint32{second, decorationBinding, 17}), "binding 17 is a storage buffer"},
		{"texel buffer below", edit(t, texel, []uint32{decorationBinding, 18}, []uint32{decorationBinding, 15}), "binding 15 is a texel buffer"},
		{"image", edit(t, texel, []uint32{dimBuffer, 0, 0, 0, imageSampled}, []uint32{1, 0, 0, 0, imageSampled}), "is an image or sampler"},
		{"storage texels", edit(t, texel, []uint32{dimBuffer, 0, 0, 0, imageSampled}, []uint32{dimBuffer, 0, 0, 0, 2}), "is an image or sampler"},
		{"signed texels", edit(t, texel, []uint32{unsigned, 32, 0}, []uint32{unsigned, 32, 1}), "is an image or sampler"},
	}
	for _, test := range tests {
		if _, err := readSPIRV(test.code); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

func readWords(t *testing.T, code []byte) []uint32 {
	t.Helper()
	words, err := spirvWords(code)
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// TestReadSPIRVDamaged: no change of a module makes the reader panic, or take much memory or time.
func TestReadSPIRVDamaged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for _, name := range []string{"scale", "increment", "push", "texel", "decide"} {
		code := readTestdata(t, name)
		for range 20_000 {
			damaged := bytes.Clone(code)
			for range 1 + random.IntN(3) {
				at := 4 * random.IntN(len(code)/4)
				switch random.IntN(3) {
				case 0:
					damaged[at+random.IntN(4)] ^= 1 << random.IntN(8)
				case 1:
					binary.LittleEndian.PutUint32(damaged[at:], random.Uint32())
				case 2:
					binary.LittleEndian.PutUint32(damaged[at:], random.Uint32N(64))
				}
			}
			if s, err := readSPIRV(damaged); err == nil {
				accepted++
				s.decided(map[uint32]uint32{10: 1, 11: 3})
				if s.pushBytes > mostBytes || len(s.access) > len(code) {
					t.Fatalf("%s: %d bytes of push constants, %d bindings", name, s.pushBytes, len(s.access))
				}
			}
		}
	}
	if accepted == 0 || accepted == 100_000 {
		t.Errorf("%d of 100000 damaged modules accepted: the test does not reach the reader", accepted)
	}
}
