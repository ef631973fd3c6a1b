package vk

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	vulkan "github.com/vulkan-go/vulkan"
)

// Access says what a kernel does with a buffer. The values are bits.
type Access uint8

// The kinds of access, as the shader declares them: readonly is Read, writeonly is Write, neither is both.
const (
	Read  Access = 1
	Write Access = 2
)

// String returns "r", "w" or "rw".
func (a Access) String() string {
	return [...]string{"none", "r", "w", "rw"}[a&(Read|Write)]
}

// Kernel is a compute shader.
type Kernel struct {
	device      *Device
	name        string
	access      []Access // by argument
	descriptors []descriptor
	pushBytes   int
	local       [3]uint32
	subgroup    bool              // compiled for full subgroups of Caps.SubgroupSize
	constants   map[uint32]uint32 // values given to its specialization constants
	shared      int64             // bytes of shared memory

	made, spared        int      // calls of Device.Kernel and of Spare
	code                []uint32 // words of SPIR-V, to compile
	specIDs, specValues []uint32
	failed              error // of Device.Compile, for Kernel.Compile to return

	setLayout vulkan.DescriptorSetLayout
	layout    vulkan.PipelineLayout
	pipeline  vulkan.Pipeline // nil: not compiled yet
}

// Kernel makes a kernel of SPIR-V with values for its 32-bit specialization constants; ids that the shader does
// not have are ignored. Device.Compile, or else the first Dispatch, compiles it. The shader has one entry
// point, main, and in set 0 a storage buffer with binding i for argument i of Dispatch. An argument may also,
// or only, have a texel buffer with binding 16 + i: a textureBuffer, whose items are vec4, or a utextureBuffer,
// whose items are two words, in x and y. With Caps.FullSubgroups a workgroup of Caps.SubgroupSize invocations
// along x is one subgroup. What the device lacks for the shader is an error that names it. The same name, code
// and constants give the same Kernel again. The device owns it.
func (d *Device) Kernel(name string, spirv []byte, spec map[uint32]uint32) (*Kernel, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	key := kernelKey(name, spirv, spec)
	if k := d.kernels[key]; k != nil {
		k.made++
		return k, nil
	}
	s, err := readSPIRV(spirv)
	if err != nil {
		return nil, fmt.Errorf("vk: kernel %s: %w", name, err)
	}
	k := &Kernel{device: d, name: name, made: 1, access: s.access, descriptors: s.descriptors, pushBytes: s.pushBytes, local: s.workgroup(spec)}
	if err := k.fits(s, spec); err != nil {
		return nil, fmt.Errorf("vk: kernel %s: %w", name, err)
	}
	caps := &d.physical.info.Caps
	k.subgroup = caps.FullSubgroups && (k.local == [3]uint32{caps.SubgroupSize, 1, 1} &&
		slices.Contains(s.module.capabilities, capabilityGroupNonUniform) ||
		k.local[0]%caps.SubgroupSize == 0 && slices.Contains(s.module.capabilities, capabilityMatrix))
	if k.specIDs, k.specValues, err = s.specConstants(spec); err != nil {
		return nil, fmt.Errorf("vk: kernel %s: %w", name, err)
	}
	k.constants = make(map[uint32]uint32, len(k.specIDs))
	for i, id := range k.specIDs {
		k.constants[id] = k.specValues[i]
	}
	k.code = s.decided(k.constants)
	d.kernels[key] = k
	return k, nil
}

func kernelKey(name string, spirv []byte, spec map[uint32]uint32) string {
	hash := fnv.New64a()
	hash.Write(spirv)
	var key strings.Builder
	fmt.Fprintf(&key, "%s %x", name, hash.Sum64())
	for _, id := range slices.Sorted(maps.Keys(spec)) {
		fmt.Fprintf(&key, " %d=%d", id, spec[id])
	}
	return key.String()
}

// fits checks the shader against the device's limits, which Vulkan itself does not.
func (k *Kernel) fits(s *shader, spec map[uint32]uint32) error {
	p := k.device.physical
	caps := &p.info.Caps
	if err := p.checkCapabilities(s.module.capabilities); err != nil {
		return err
	}
	if storage, texel := countTypes(k.descriptors); storage > p.maxStorageBuffers || texel > p.maxTexelBuffers {
		return fmt.Errorf("%d storage buffers and %d texel buffers, the device allows %d and %d", storage, texel, p.maxStorageBuffers, p.maxTexelBuffers)
	}
	if k.pushBytes > int(caps.PushBytes) {
		return fmt.Errorf("%d bytes of push constants, the device allows %d", k.pushBytes, caps.PushBytes)
	}
	invocations := uint64(1)
	for i, n := range k.local {
		if n == 0 || n > caps.MaxLocalSize[i] {
			return fmt.Errorf("workgroup size %v, the device allows %v", k.local, caps.MaxLocalSize)
		}
		invocations *= uint64(n)
	}
	if invocations > uint64(caps.MaxInvocations) {
		return fmt.Errorf("workgroup of %d invocations, the device allows %d", invocations, caps.MaxInvocations)
	}
	var err error
	if k.shared, err = s.sharedMemory(spec); err == nil && k.shared > int64(caps.SharedMemory) {
		err = fmt.Errorf("%d bytes of shared memory, the device allows %d", k.shared, caps.SharedMemory)
	}
	return err
}

// Name is the name the kernel was made with.
func (k *Kernel) Name() string { return k.name }

// String is the name and the specialization constants that it was compiled with, by id: "silu.f32 0=256 13=4".
func (k *Kernel) String() string {
	var b strings.Builder
	b.WriteString(k.name)
	for _, id := range slices.Sorted(maps.Keys(k.constants)) {
		fmt.Fprintf(&b, " %d=%d", id, k.constants[id])
	}
	return b.String()
}

// Bindings says what the kernel does with each argument. It must not be changed.
func (k *Kernel) Bindings() []Access { return k.access }

// PushBytes is the size of the push-constant block: what Dispatch wants as push.
func (k *Kernel) PushBytes() int { return k.pushBytes }

// LocalSize is the workgroup size, specialization constants applied.
func (k *Kernel) LocalSize() [3]uint32 { return k.local }

// SharedMemory is what a workgroup has of it, in bytes.
func (k *Kernel) SharedMemory() int64 { return k.shared }

// Constant is the value that the specialization constant was given; ok is false when the shader does not have it, or
// it was left at its default.
func (k *Kernel) Constant(id uint32) (value uint32, ok bool) {
	value, ok = k.constants[id]
	return value, ok
}
