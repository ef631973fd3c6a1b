package vk

import (
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Kind is what a device is, best first.
type Kind int

// The kinds in order of preference.
const (
	Discrete   Kind = iota // a card with memory of its own
	Integrated             // a GPU that shares the processor's memory
	Virtual                // a GPU lent by a virtual machine's host
	CPU                    // a software driver (lavapipe, SwiftShader)
	Other
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Discrete:
		return "discrete"
	case Integrated:
		return "integrated"
	case Virtual:
		return "virtual"
	case CPU:
		return "cpu"
	}
	return "other"
}

// Info describes a device.
type Info struct {
	Index              int    // position in Devices
	Name               string // as the driver gives it
	Kind               Kind
	VendorID, DeviceID uint32 // PCI numbers, or a Khronos vendor number
	Driver             string // name and version
	API                string // Vulkan version the driver supports, "1.3.224"
	Memory             uint64 // bytes in the largest device-local heap; of a software driver, the machine's memory
	Caps               Caps
}

// Caps are the limits and features that kernels are chosen by.
type Caps struct {
	SubgroupSize       uint32 // invocations that run in lockstep: 4, 8, 16, 32 or 64. A driver may choose less, see FullSubgroups
	SubgroupArithmetic bool   // subgroupAdd, subgroupMax … work in compute shaders
	SubgroupShuffle    bool   // subgroupShuffle works in compute shaders
	FullSubgroups      bool   // a workgroup of SubgroupSize invocations along x is one subgroup

	Cores          uint32    // that run workgroups side by side: multiprocessors, compute units; 0 where the driver does not say
	MaxInvocations uint32    // per workgroup, all dimensions together
	MaxLocalSize   [3]uint32 // per workgroup and dimension
	MaxGroups      [3]uint32 // per dispatch and dimension
	SharedMemory   uint32    // bytes per workgroup

	MaxStorageRange uint64 // bytes in one Span of a dispatch; at most MaxAllocation
	MaxTexels       uint64 // items of a texel buffer
	StorageAlign    uint64 // a dispatch's Span offsets are multiples of it, bytes
	MaxAllocation   uint64 // bytes in one Buffer
	PushBytes       uint32 // bytes of push constants

	Float16   bool // 16-bit float arithmetic in shaders
	Storage16 bool // 16-bit values in storage buffers
	Int64     bool // 64-bit integers in shaders
	Float64   bool // 64-bit floats in shaders

	Matrices []Matrix // products that subgroups of SubgroupSize compute at once, on matrix cores where there are any

	TimestampPeriod float64 // ns per tick, 0 = no timestamps
	HostVisible     bool    // device-local memory is mapped: uploads need no staging
}

// Matrix is the shape of a cooperative matrix product: (M, N) += (M, K) by (K, N), summed in f32.
type Matrix struct {
	M, N, K uint32
	BF16    bool // of bf16, else of f16
}

// physical is a device that could be opened.
type physical struct {
	handle vulkan.PhysicalDevice
	info   Info
	facts  deviceFacts
	memory []memoryType

	pipelineCacheID   string // vendor, device, driver version and pipelineCacheUUID
	maxStorageBuffers uint32 // per dispatch
	maxTexelBuffers   uint32
}

// memoryType is a Vulkan memory type with its heap's facts.
type memoryType struct {
	flags    vulkan.MemoryPropertyFlags
	heap     uint32
	heapSize uint64
}

const computeStageBit = 0x20 // VK_SHADER_STAGE_COMPUTE_BIT

// describe queries a device; nil when the device cannot be used: below Vulkan 1.1 or without a compute queue.
func describe(handle vulkan.PhysicalDevice) *physical {
	var props vulkan.PhysicalDeviceProperties
	vulkan.GetPhysicalDeviceProperties(handle, &props)
	props.Deref()
	props.Limits.Deref()
	defer props.Free()
	if props.ApiVersion < vulkan.MakeVersion(1, 1, 0) {
		return nil
	}
	facts := queryDevice(handle)
	if facts.queue_family == noFamily {
		return nil
	}
	limits := &props.Limits
	p := &physical{
		handle: handle,
		facts:  facts,
		memory: memoryTypes(handle),
		pipelineCacheID: fmt.Sprintf("%08x-%08x-%08x-%x", props.VendorID, props.DeviceID,
			props.DriverVersion, props.PipelineCacheUUID),
		maxStorageBuffers: min(limits.MaxPerStageDescriptorStorageBuffers, limits.MaxDescriptorSetStorageBuffers),
		maxTexelBuffers:   min(limits.MaxPerStageDescriptorSampledImages, limits.MaxDescriptorSetSampledImages),
	}
	p.info = Info{
		Name:     vulkan.ToString(props.DeviceName[:]),
		Kind:     kindOf(props.DeviceType),
		VendorID: props.VendorID,
		DeviceID: props.DeviceID,
		Driver:   driverName(&facts, props.DriverVersion),
		API:      vulkan.Version(props.ApiVersion).String(),
		Caps:     capsOf(limits, &facts),
	}
	for _, m := range p.memory {
		if m.flags&deviceLocal != 0 {
			p.info.Memory = max(p.info.Memory, m.heapSize)
		}
	}
	// Software drivers make a figure up (2 GiB) and do not keep to it.
	if ram := machineMemory(); p.info.Kind == CPU && ram > 0 {
		p.info.Memory = ram
	}
	if i := deviceMemoryType(p.memory, ^uint32(0)); i >= 0 {
		p.info.Caps.HostVisible = p.memory[i].flags&hostCoherent == hostCoherent
	}
	return p
}

// capsOf gathers what kernels and buffers are held against.
func capsOf(limits *vulkan.PhysicalDeviceLimits, facts *deviceFacts) Caps {
	c := Caps{
		SubgroupSize:       uint32(facts.subgroup_size),
		SubgroupArithmetic: hasSubgroup(facts, capabilityArithmetic),
		SubgroupShuffle:    hasSubgroup(facts, capabilityShuffle),
		FullSubgroups:      facts.require_subgroup != 0,
		Cores:              uint32(facts.cores),
		MaxInvocations:     limits.MaxComputeWorkGroupInvocations,
		MaxLocalSize:       limits.MaxComputeWorkGroupSize,
		MaxGroups:          limits.MaxComputeWorkGroupCount,
		SharedMemory:       limits.MaxComputeSharedMemorySize,
		MaxStorageRange:    min(uint64(limits.MaxStorageBufferRange), maxBuffer(facts)),
		MaxTexels:          uint64(limits.MaxTexelBufferElements),
		StorageAlign:       uint64(max(limits.MinStorageBufferOffsetAlignment, limits.MinTexelBufferOffsetAlignment, 16)),
		MaxAllocation:      maxBuffer(facts),
		PushBytes:          limits.MaxPushConstantsSize,
		Float16:            facts.float16 != 0,
		Storage16:          facts.storage16 != 0,
		Int64:              facts.int64 != 0,
		Float64:            facts.float64 != 0,
	}
	for _, m := range facts.matrix[:facts.matrices] {
		c.Matrices = append(c.Matrices, Matrix{uint32(m.m), uint32(m.n), uint32(m.k), m.bfloat != 0})
	}
	if facts.timestamp_bits != 0 {
		c.TimestampPeriod = float64(limits.TimestampPeriod)
	}
	return c
}

// maxBuffer is the largest size of a Buffer: memory is asked for in units of up to 64 KiB, with
// bufferPadding in them.
func maxBuffer(facts *deviceFacts) uint64 {
	limit := uint64(facts.max_allocation)
	if n := uint64(facts.max_buffer); n > 0 {
		limit = min(limit, n)
	}
	return limit&^(1<<16-1) - 1<<16
}

func kindOf(t vulkan.PhysicalDeviceType) Kind {
	switch t {
	case vulkan.PhysicalDeviceTypeDiscreteGpu:
		return Discrete
	case vulkan.PhysicalDeviceTypeIntegratedGpu:
		return Integrated
	case vulkan.PhysicalDeviceTypeVirtualGpu:
		return Virtual
	case vulkan.PhysicalDeviceTypeCpu:
		return CPU
	}
	return Other
}

// driverName prefers what VK_KHR_driver_properties says; the bare number's layout is the vendor's own.
func driverName(facts *deviceFacts, version uint32) string {
	name := cString(&facts.driver_name)
	if name == "" {
		return fmt.Sprintf("driver %#x", version)
	}
	if info := cString(&facts.driver_info); info != "" {
		name += " " + info
	}
	return name
}

// cString is the text before the NUL in an array of C characters.
func cString[Char any](chars *[256]Char) string {
	return vulkan.ToString((*[256]byte)(unsafe.Pointer(chars))[:])
}

func memoryTypes(handle vulkan.PhysicalDevice) []memoryType {
	var props vulkan.PhysicalDeviceMemoryProperties
	vulkan.GetPhysicalDeviceMemoryProperties(handle, &props)
	props.Deref()
	defer props.Free()
	types := make([]memoryType, props.MemoryTypeCount)
	for i := range types {
		t := props.MemoryTypes[i]
		t.Deref()
		heap := props.MemoryHeaps[t.HeapIndex]
		heap.Deref()
		types[i] = memoryType{t.PropertyFlags, t.HeapIndex, uint64(heap.Size)}
	}
	return types
}
