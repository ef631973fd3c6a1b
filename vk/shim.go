package vk

// #cgo linux LDFLAGS: -ldl
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// raw is a handle as the shim takes it: non-dispatchable handles are 64 bits wide on every system.
func raw[Handle any](handle Handle) C.uint64_t { return *(*C.uint64_t)(unsafe.Pointer(&handle)) }

// made is what a call of the shim created; nothing when it failed, whatever the driver left in bits.
func made[Handle any](bits C.uint64_t, result C.int32_t) (handle Handle, _ vulkan.Result) {
	if vulkan.Result(result) == vulkan.Success {
		handle = *(*Handle)(unsafe.Pointer(&bits))
	}
	return handle, vulkan.Result(result)
}

func openLibrary(name string) unsafe.Pointer {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	return C.lemnos_open_library(s)
}

func shimLoad(proc unsafe.Pointer) error { return lacks(C.lemnos_load(proc)) }

func shimLoadInstance(instance vulkan.Instance) error {
	return lacks(C.lemnos_load_instance(unsafe.Pointer(instance)))
}

// lacks is the error for the name of a missing function, nil for none.
func lacks(function *C.char) error {
	if function == nil {
		return nil
	}
	return fmt.Errorf("vk: the Vulkan loader lacks %s", C.GoString(function))
}

func instanceVersion() uint32 { return uint32(C.lemnos_instance_version()) }

func createInstance() (vulkan.Instance, vulkan.Result) {
	var instance unsafe.Pointer
	result := C.lemnos_create_instance(&instance)
	return vulkan.Instance(instance), vulkan.Result(result)
}

// deviceFacts is what the shim's query adds to vkGetPhysicalDeviceProperties.
type deviceFacts = C.lemnos_caps

const noFamily = ^C.uint32_t(0)

func queryDevice(physical vulkan.PhysicalDevice) deviceFacts {
	var facts deviceFacts
	C.lemnos_query(unsafe.Pointer(physical), &facts)
	return facts
}

// createDevice makes a device with one queue and enables the features among its facts.
func createDevice(physical vulkan.PhysicalDevice, facts *deviceFacts) (vulkan.Device, vulkan.Result) {
	var device unsafe.Pointer
	result := C.lemnos_create_device(unsafe.Pointer(physical), facts, &device)
	return vulkan.Device(device), vulkan.Result(result)
}

// cArray is zeroed C memory for n > 0 values, for structs that keep a pointer to it: Go memory must not be
// stored in C memory. Free with freeC(unsafe.Pointer(&a[0])).
func cArray[T any](n int) []T {
	var zero T
	p := C.calloc(C.size_t(n), C.size_t(unsafe.Sizeof(zero)))
	if p == nil {
		panic("vk: out of memory") // as for Go memory
	}
	return unsafe.Slice((*T)(p), n)
}

func freeC(p unsafe.Pointer) { C.free(p) }

// submit resets the fence, if there is one, and submits the first n command buffers of d.batch with it in one
// vkQueueSubmit.
func (d *Device) submit(fence vulkan.Fence, n int) vulkan.Result {
	result := vulkan.Result(C.lemnos_submit(unsafe.Pointer(d.handle), unsafe.Pointer(d.queue), raw(fence),
		C.uint32_t(n), (*unsafe.Pointer)(unsafe.Pointer(&d.batch[0]))))
	if result == vulkan.Success {
		d.submissions++
	}
	return result
}

func (d *Device) waitFence(fence vulkan.Fence, nanoseconds uint64) vulkan.Result {
	return vulkan.Result(C.lemnos_wait(unsafe.Pointer(d.handle), raw(fence), C.uint64_t(nanoseconds)))
}

func (d *Device) fenceStatus(fence vulkan.Fence) vulkan.Result {
	return vulkan.Result(C.lemnos_fence_status(unsafe.Pointer(d.handle), raw(fence)))
}

func cmdBarrier(cmd vulkan.CommandBuffer, from, to barrierSide) {
	C.lemnos_barrier(unsafe.Pointer(cmd), C.uint32_t(from.stages), C.uint32_t(to.stages),
		C.uint32_t(from.access), C.uint32_t(to.access))
}

func cmdCopy(cmd vulkan.CommandBuffer, src vulkan.Buffer, srcOffset int64, dst vulkan.Buffer, dstOffset, size int64) {
	C.lemnos_copy(unsafe.Pointer(cmd), raw(src), raw(dst), C.uint64_t(srcOffset), C.uint64_t(dstOffset), C.uint64_t(size))
}

func (d *Device) newSetLayout(descriptors []descriptor) (vulkan.DescriptorSetLayout, vulkan.Result) {
	bindings := make([]C.lemnos_binding, len(descriptors))
	for i, desc := range descriptors {
		bindings[i] = C.lemnos_binding{binding: C.uint32_t(desc.binding), _type: C.uint32_t(desc.typ()), count: 1, stages: computeStageBit}
	}
	var layout C.uint64_t
	result := C.lemnos_set_layout(unsafe.Pointer(d.handle), C.uint32_t(len(bindings)), unsafe.SliceData(bindings), &layout)
	return made[vulkan.DescriptorSetLayout](layout, result)
}

func (d *Device) newPipelineLayout(set vulkan.DescriptorSetLayout, pushBytes int) (vulkan.PipelineLayout, vulkan.Result) {
	var layout C.uint64_t
	result := C.lemnos_pipeline_layout(unsafe.Pointer(d.handle), raw(set), C.uint32_t(pushBytes), &layout)
	return made[vulkan.PipelineLayout](layout, result)
}

// newDescriptorPool makes a pool for that many sets with as many storage and texel buffers in all.
func (d *Device) newDescriptorPool(sets, storage, texel uint32) (vulkan.DescriptorPool, vulkan.Result) {
	var pool C.uint64_t
	result := C.lemnos_descriptor_pool(unsafe.Pointer(d.handle), C.uint32_t(sets), C.uint32_t(storage), C.uint32_t(texel), &pool)
	return made[vulkan.DescriptorPool](pool, result)
}

// newDescriptorSet allocates a set of the kernel's layout; views are those of its texel buffers, by descriptor.
func (d *Device) newDescriptorSet(pool vulkan.DescriptorPool, k *Kernel, args []Span, views []vulkan.BufferView) (vulkan.DescriptorSet, vulkan.Result) {
	n := len(k.descriptors)
	writes := make([]C.lemnos_descriptor, n)
	for i, desc := range k.descriptors {
		a := args[desc.arg]
		writes[i] = C.lemnos_descriptor{
			binding: C.uint32_t(desc.binding), _type: C.uint32_t(desc.typ()),
			buffer: raw(a.Buffer.handle), offset: C.uint64_t(a.Offset), size: C.uint64_t(desc.bytes(a.Size)), view: raw(views[i]),
		}
	}
	var set C.uint64_t
	result := C.lemnos_descriptor_set(unsafe.Pointer(d.handle), raw(pool), raw(k.setLayout), C.uint32_t(n), unsafe.SliceData(writes), &set)
	return made[vulkan.DescriptorSet](set, result)
}

// newPipeline compiles SPIR-V words with 32-bit specialization constants, for full subgroups of the device's size if asked.
func (d *Device) newPipeline(layout vulkan.PipelineLayout, code, specIDs, specValues []uint32, fullSubgroups bool) (vulkan.Pipeline, vulkan.Result) {
	var subgroup C.uint32_t
	if fullSubgroups {
		subgroup = d.physical.facts.subgroup_size
	}
	var pipeline C.uint64_t
	result := C.lemnos_pipeline(unsafe.Pointer(d.handle), raw(d.cache), raw(layout),
		(*C.uint32_t)(unsafe.SliceData(code)), C.size_t(4*len(code)), C.uint32_t(len(specIDs)),
		(*C.uint32_t)(unsafe.SliceData(specIDs)), (*C.uint32_t)(unsafe.SliceData(specValues)), subgroup,
		C.int(d.physical.facts.statistics), &pipeline)
	return made[vulkan.Pipeline](pipeline, result)
}

func (d *Device) executables(pipeline vulkan.Pipeline) ([]Executable, vulkan.Result) {
	var count C.uint32_t
	result := C.lemnos_executables(unsafe.Pointer(d.handle), raw(pipeline), &count, nil)
	if result != 0 || count == 0 {
		return nil, vulkan.Result(result)
	}
	list := make([]C.lemnos_executable, count)
	result = C.lemnos_executables(unsafe.Pointer(d.handle), raw(pipeline), &count, &list[0])
	executables := make([]Executable, count)
	for i := range executables {
		e := &list[i]
		executables[i] = Executable{Name: C.GoString(&e.name[0]), Description: C.GoString(&e.description[0]), SubgroupSize: uint32(e.subgroup_size)}
	}
	return executables, vulkan.Result(result)
}

func (d *Device) statistics(pipeline vulkan.Pipeline, executable int) ([]Statistic, vulkan.Result) {
	var count C.uint32_t
	result := C.lemnos_statistics(unsafe.Pointer(d.handle), raw(pipeline), C.uint32_t(executable), &count, nil)
	if result != 0 || count == 0 {
		return nil, vulkan.Result(result)
	}
	list := make([]C.lemnos_statistic, count)
	result = C.lemnos_statistics(unsafe.Pointer(d.handle), raw(pipeline), C.uint32_t(executable), &count, &list[0])
	statistics := make([]Statistic, count)
	for i := range statistics {
		s := &list[i]
		statistics[i] = Statistic{Name: C.GoString(&s.name[0]), Description: C.GoString(&s.description[0]), Value: float64(s.value)}
	}
	return statistics, vulkan.Result(result)
}
