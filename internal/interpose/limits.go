package interpose

// #include "interpose.h"
import "C"

// Limits are what devices report at most, and what calls are held to: those that ask for more are refused and are
// violations. 0 is the device's own.
type Limits struct {
	Allocation         uint64 // bytes in one vkAllocateMemory; more is out of device memory, and no violation
	Mapping            uint64 // bytes in one vkMapMemory; more fails, and is no violation
	StorageRange       uint32 // bytes of a storage buffer's descriptor
	Alignment          uint32 // of the offsets of storage and texel buffers, at least
	StorageBuffers     uint32 // per stage and set
	TexelBuffers       uint32 // per stage and set: sampled images
	Texels             uint32 // items of a texel buffer
	PushBytes          uint32
	SharedMemory       uint32 // bytes per workgroup
	Invocations        uint32 // per workgroup
	Local              [3]uint32
	Groups             [3]uint32
	SubgroupOperations uint32 // VkSubgroupFeatureFlags: those that are left
	SubgroupSize       uint32 // what is reported; the driver goes on with its own, as those of Intel's GPUs may
	GPU                bool   // an integrated GPU, whatever it is: kernels are chosen as for one
	Card               bool   // a card with memory of its own, which the host sees but does not cache, whatever it is
	Unmapped           bool   // with Card: the host does not see it
	Basic              bool   // Vulkan 1.1 without any extension or feature
}

// Minimum is the least that a device of Vulkan 1.1 may have, but for two: allocations, where it promises 1 GiB, are
// smaller, so that small tests meet the limit; storage buffers, where it promises 4, are what all devices in use and
// WebGPU have.
var Minimum = Limits{
	Allocation: 16 << 20, StorageRange: 1 << 27, Alignment: 256,
	StorageBuffers: 8, TexelBuffers: 16, Texels: 1 << 16, PushBytes: 128,
	SharedMemory: 16384, Invocations: 128, Local: [3]uint32{128, 128, 64}, Groups: [3]uint32{65535, 65535, 65535},
	SubgroupOperations: 1, // VK_SUBGROUP_FEATURE_BASIC_BIT
	GPU:                true,
	Basic:              true,
}

// Limit lowers the limits of all devices from now on; the zero Limits ends it. A device that was opened before does not
// know of it, and none may be in use meanwhile.
func Limit(l Limits) {
	c := C.interpose_limits{
		allocation: C.uint64_t(l.Allocation), mapping: C.uint64_t(l.Mapping),
		storage_range: C.uint32_t(l.StorageRange), alignment: C.uint32_t(l.Alignment),
		storage_buffers: C.uint32_t(l.StorageBuffers), texel_buffers: C.uint32_t(l.TexelBuffers),
		texels: C.uint32_t(l.Texels), push_bytes: C.uint32_t(l.PushBytes),
		shared_memory: C.uint32_t(l.SharedMemory), invocations: C.uint32_t(l.Invocations),
		subgroup_operations: C.uint32_t(l.SubgroupOperations), subgroup_size: C.uint32_t(l.SubgroupSize),
	}
	for i := range 3 {
		c.local[i], c.groups[i] = C.uint32_t(l.Local[i]), C.uint32_t(l.Groups[i])
	}
	if l.GPU {
		c.gpu = 1
	}
	switch {
	case l.Card && l.Unmapped:
		c.card = C.CARD_UNMAPPED
	case l.Card:
		c.card = C.CARD_MAPPED
	}
	if l.Basic {
		c.basic = 1
	}
	C.interpose_limit(&c)
}

// SubgroupSize returns the size of the full subgroups that the pipeline created last asked for, 0 when it did not ask.
func SubgroupSize() int { return int(C.interpose_subgroup_size()) }

// Violation returns the first call since the last Violation that asked for more than the limits allow, or "".
func Violation() string {
	var text [256]C.char
	C.interpose_violation(&text[0])
	return C.GoString(&text[0])
}
