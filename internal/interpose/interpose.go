// Package interpose stands between a test and Vulkan: it counts the live objects, makes chosen calls fail, and
// makes a device out of the real one whose limits are lower. A process is interposed once, before its first Vulkan call, by passing the pointer that Wrap
// returns where vkGetInstanceProcAddr is expected; until Inject or
// Limit all calls go through unchanged.
//
// Counters and faults are the process's, over all devices, and safe for any number of threads. A test
// that injects faults must be the only one that uses a device meanwhile. The layers and drivers sit
// below: but for vkEndCommandBuffer they do not see a call that fails by injection.
package interpose

// #cgo windows LDFLAGS: -l:libpthread.a
// #include <stdlib.h>
// #include "interpose.h"
import "C"

import (
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// kinds names the kinds of objects in the order of interpose.h.
var kinds = [C.KINDS]string{
	C.KIND_BUFFER:          "buffers",
	C.KIND_BUFFER_VIEW:     "buffer views",
	C.KIND_MEMORY:          "device memory",
	C.KIND_SHADER_MODULE:   "shader modules",
	C.KIND_PIPELINE:        "pipelines",
	C.KIND_PIPELINE_CACHE:  "pipeline caches",
	C.KIND_PIPELINE_LAYOUT: "pipeline layouts",
	C.KIND_SET_LAYOUT:      "descriptor set layouts",
	C.KIND_DESCRIPTOR_POOL: "descriptor pools",
	C.KIND_COMMAND_POOL:    "command pools",
	C.KIND_FENCE:           "fences",
	C.KIND_QUERY_POOL:      "query pools",
	C.KIND_DEVICE:          "devices",
}

// Counts are the live objects of each kind: created and not destroyed. Compare with the zero Counts.
type Counts [C.KINDS]int

// String lists the kinds that are not zero, as "2 buffers, 1 fences"; "nothing" when all are.
func (c Counts) String() string {
	var parts []string
	for kind, n := range c {
		if n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kinds[kind]))
		}
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Kinds names what Counts counts, in its order.
func Kinds() []string { return kinds[:] }

// Fault is a failure, with the calls it can befall.
type Fault int

// The faults. After a lost device all compilations, submissions, waits, fence and query results are lost, until Reset.
const (
	DeviceMemory Fault = C.FAULT_DEVICE_MEMORY // vkAllocateMemory: VK_ERROR_OUT_OF_DEVICE_MEMORY
	// HostMemory: VK_ERROR_OUT_OF_HOST_MEMORY from every vkCreate call but vkCreateInstance, from
	// vkAllocateCommandBuffers, vkAllocateDescriptorSets, vkBindBufferMemory,
	// vkBeginCommandBuffer, vkEndCommandBuffer, vkResetFences and vkQueueSubmit.
	HostMemory Fault = C.FAULT_HOST_MEMORY
	MapFailure Fault = C.FAULT_MAP    // vkMapMemory: VK_ERROR_MEMORY_MAP_FAILED
	LostSubmit Fault = C.FAULT_SUBMIT // vkQueueSubmit: VK_ERROR_DEVICE_LOST
	LostWait   Fault = C.FAULT_WAIT   // vkWaitForFences: VK_ERROR_DEVICE_LOST
	// LostCompile: VK_ERROR_DEVICE_LOST from vkCreateComputePipelines.
	LostCompile Fault = C.FAULT_COMPILE
)

// String says what fails.
func (f Fault) String() string {
	return [...]string{"device memory", "host memory", "map failure", "lost at submit", "lost at wait", "lost at compile"}[f]
}

// Wrap returns a vkGetInstanceProcAddr that hands out counting functions around those of proc.
func Wrap(proc unsafe.Pointer) unsafe.Pointer { return C.interpose_wrap(proc) }

// Live returns the counts of now.
func Live() Counts {
	var c Counts
	for kind := range c {
		c[kind] = int(C.interpose_live(C.int(kind)))
	}
	return c
}

// Reset ends all faults and counts calls from zero again. Objects stay counted.
func Reset() { C.interpose_reset() }

// Inject makes the nth call (from 0, counted since Reset) that the fault can befall fail, and, when
// onward, all such calls after it.
func Inject(f Fault, n int, onward bool) {
	last := C.int64_t(n)
	if onward {
		last = math.MaxInt64
	}
	C.interpose_inject(C.int(f), C.int64_t(n), last)
}

// Calls returns how many calls since Reset the fault could have befallen.
func Calls(f Fault) int { return int(C.interpose_calls(C.int(f))) }

// CompiledAtOnce returns how many pipelines at most were being created at the same time since Reset.
func CompiledAtOnce() int { return int(C.interpose_compiled_at_once()) }

// Injected returns how many calls have failed by injection since Reset.
func Injected() int { return int(C.interpose_injected()) }

// Slow makes timestamps say that everything takes factor times as long as it does; 1 ends it.
func Slow(factor uint64) { C.interpose_slow(C.uint64_t(factor)) }

// PreferNumbers makes max, min and clamp, and comparisons that choose one of their operands, return the number where one
// operand is NaN, in the kernels compiled from now on. Vulkan allows a driver either, and GPUs do so.
func PreferNumbers(on bool) {
	c := C.int(0)
	if on {
		c = 1
	}
	C.interpose_prefer_numbers(c)
}

// ReuseDevices makes vkDestroyDevice keep the devices made from now on, for a vkCreateDevice that asks for the same, and returns
// how many calls of that were spared before.
func ReuseDevices() (spared int) { return int(C.interpose_reuse_devices()) }

// Lookup returns the function of the name as the wrapped vkGetInstanceProcAddr gives it for the last
// instance asked about, and as vkGetDeviceProcAddr does for the last device created, which must be alive.
func Lookup(name string) (byInstance, byDevice unsafe.Pointer) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	C.interpose_lookup(s, &byInstance, &byDevice)
	return byInstance, byDevice
}

// Perturb replaces the byte that $MALLOC_PERTURB_ asked the GNU C library to fill memory with; 0 ends the
// filling. Drivers on the CPU take device memory from malloc: filling it takes longer than most tests.
func Perturb(value byte) { C.interpose_perturb(C.int(value)) }
