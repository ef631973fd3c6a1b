package shaders

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// instructions takes SPIR-V apart.
func instructions(code []byte) (list [][]uint32) {
	var words []uint32
	for at := 20; at < len(code); at += 4 {
		words = append(words, binary.LittleEndian.Uint32(code[at:]))
	}
	for len(words) > 0 {
		n := words[0] >> 16
		list = append(list, words[:n])
		words = words[n:]
	}
	return list
}

// Without arithmetic a kernel has one copy for each reduction, the rest unchanged, and is valid SPIR-V; with arithmetic it
// must have the constant that keeps devices away from it.
func TestWithoutArithmetic(t *testing.T) {
	validator, err := exec.LookPath("spirv-val")
	reductions, modules := 0, []string{}
	for _, name := range Names() {
		code, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		var want [][]uint32
		declared, constant, here := false, false, 0
		for _, in := range instructions(code) {
			op := in[0] & 0xffff
			const decorate, specID = 71, 1
			constant = constant || op == decorate && in[2] == specID && in[3] == 3
			switch {
			case op == opCapability && in[1] == capabilityArithmetic:
				declared = true
				continue
			case op >= opGroupNonUniformIAdd && op <= opGroupNonUniformLast:
				here++
				in = []uint32{4<<16 | opCopyObject, in[1], in[2], in[5]}
			}
			want = append(want, in)
		}
		basic := WithoutArithmetic(code)
		if got := instructions(basic); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %d instructions, want %d, or they differ", name, len(got), len(want))
		}
		if declared != (here > 0) || declared && !constant {
			t.Errorf("%s: %d reductions, capability %t, constant 3 %t", name, here, declared, constant)
		}
		if reductions += here; here > 0 && validator != "" {
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, basic, 0o644); err != nil {
				t.Fatal(err)
			}
			modules = append(modules, file)
		}
	}
	if reductions < 100 {
		t.Errorf("%d reductions in all kernels: the test looks for the wrong ones", reductions)
	}
	if err != nil {
		t.Log("spirv-val is missing: not validated")
	}
	for _, file := range modules {
		if out, err := exec.Command(validator, "--target-env", "vulkan1.1", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(file), err, out)
		}
	}
}

// No kernel needs more than 8 storage buffers: all that some devices, and WebGPU, allow.
func TestStorageBuffers(t *testing.T) {
	for _, name := range Names() {
		code, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		storage := map[uint32]bool{}
		for _, in := range instructions(code) {
			const decorate, binding, texelBindings = 71, 33, 16
			if in[0]&0xffff == decorate && in[2] == binding && in[3] < texelBindings {
				storage[in[3]] = true
			}
		}
		if len(storage) == 0 || len(storage) > 8 {
			t.Errorf("%s has %d storage buffers, want 1 to 8", name, len(storage))
		}
	}
}
