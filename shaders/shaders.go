// Package shaders holds the compute kernels: GLSL sources (*.comp, lib/*.glsl) and the SPIR-V compiled from them
// (spv/*.spv), which is committed and embedded, so that building a program needs no shader compiler.
//
// A kernel is one file, <kernel>.comp; the file's name is the kernel's name everywhere. Its header states the formula,
// the shapes, what one workgroup does, the push block and the bindings, in this order. "//types" lines list the variants
// compiled from it, by the storage type of what they read, and of what they write where that is another: "cast.f32_b16". b16
// is f16 or bf16, which share a module, and a specialization constant says which: Module knows that of "cast.f32_bf16". A
// "//wide" line adds to each above it a module that reads texel buffers and writes words of 64 bits (see lib/types.glsl), named
// "cast.f32_b16_wide": the same values, for devices where that is faster.
//
// # Memory layout
//
// A tensor of floats (f32, f16 or bf16) is a list of rows; each row is padded to a multiple of four values and the
// padding is always zero: a kernel that writes a row writes zeros there. Kernels read and write four values at a time,
// as vec4 (f32, 16 bytes) or uvec2 (f16 and bf16, 8 bytes), so no 16-bit storage extension is needed. Strides in push
// blocks that end in 4 count such groups. Arithmetic is f32 whatever is stored; a result is rounded once, to nearest
// even. Tensors of integers are dense.
//
// # Specialization constants
//
// constants.go, which gen writes, has their ids, and the values that kernels name, under the names in the sources. A name
// means one id in all kernels, an id several names. SpecLocal is the workgroup's size along x, a power of two. SpecSubgroups
// says how reductions use subgroups, see lib/reduce.glsl; it is NoSubgroups unless it is set. A constant that a kernel does not
// have is an error of package ops. The modules are as small as their sources, with loops and calls in them: drivers specialize
// them, then unroll and inline. Where a driver unrolls first, a constant that bounds a loop over an array is no specialization
// constant, or has a variant with it fixed, see lib/rows.glsl.
//
// # Adding a kernel
//
// Write <kernel>.comp, run go generate ./shaders, commit the source with its .spv. There is nothing to register. A kernel with a
// "//newer" line, those with cooperative matrices, is compiled by a newer glslc: see package gen.
package shaders

import (
	"embed"
	"fmt"
	"io/fs"
	"sort"
	"strings"
)

//go:generate go run ./gen

//go:embed spv
var spv embed.FS

// Module returns the name of the module that a kernel is in, and the specialization constants that make it that kernel: for
// "adamw.f32_bf16" "adamw.f32_b16" and SpecToBf16. What a kernel reads is of the first type in its name, what it writes of the last.
func Module(kernel string) (module string, spec map[uint32]uint32) {
	file, variant, ok := strings.Cut(kernel, ".")
	if !ok || Has(kernel) {
		return kernel, nil
	}
	spec = map[uint32]uint32{}
	words := strings.Split(variant, "_")
	for i, w := range words {
		if w != "f16" && w != "bf16" {
			continue
		}
		words[i] = "b16"
		bf16 := uint32(0)
		if w == "bf16" {
			bf16 = 1
		}
		if spec[SpecToBf16] = bf16; i == 0 {
			spec[SpecBf16] = bf16
		}
	}
	return file + "." + strings.Join(words, "_"), spec
}

// Load returns the SPIR-V of a module: "copy", "crossentropy.b16".
func Load(name string) ([]byte, error) {
	code, err := spv.ReadFile("spv/" + name + ".spv")
	if err != nil {
		return nil, fmt.Errorf("shaders: no module %q: %w", name, err)
	}
	return code, nil
}

// Has says whether Load knows the name.
func Has(name string) bool {
	_, err := fs.Stat(spv, "spv/"+name+".spv")
	return err == nil
}

// Names lists the modules that Load knows, sorted.
func Names() []string {
	entries, err := spv.ReadDir("spv")
	if err != nil {
		return nil // the folder is part of this package: the compiler has checked that it exists
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".spv"); ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}
