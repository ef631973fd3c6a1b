// Functions that stand between a program and Vulkan, for 64-bit systems.
//
// The program asks the wrapped vkGetInstanceProcAddr (or the vkGetDeviceProcAddr it gets from there)
// for functions; for those in the list below it gets ours, which count, may fail on request, report and keep the limits
// of limits.c, and else call the real ones. Those are always the loader's instance-level functions, which find the
// device's by the handle they are given, so any number of devices works. All counters are atomic.
//
// The declarations are reduced to what a pass-through needs; handles are pointers or 64-bit numbers.
#include "limits.h"

#ifdef __linux__
#include <malloc.h>
#endif
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	VK_SUCCESS = 0,
	VK_ERROR_OUT_OF_HOST_MEMORY = -1,
	VK_ERROR_OUT_OF_DEVICE_MEMORY = -2,
	VK_ERROR_DEVICE_LOST = -4,
	VK_ERROR_MEMORY_MAP_FAILED = -5,
};

typedef void (*Function)(void);
typedef Function (*ProcAddr)(void *, const char *);

static ProcAddr realInstanceProcAddr, realDeviceProcAddr;
static void *lastInstance, *lastDevice;

static int64_t live[KINDS];
static int64_t calls[FAULTS];
static int64_t first[FAULTS] = {-1, -1, -1, -1, -1, -1}, last[FAULTS] = {-1, -1, -1, -1, -1, -1};
static int64_t injected;
static int lost;
static int64_t compiling, compiled_at_once; // pipelines that are being created, and the most that were
static uint64_t slowness = 1;

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)
#define ADD(x, v) __atomic_fetch_add(&(x), v, __ATOMIC_SEQ_CST)

// befalls counts a call and says whether it is one to fail.
static int befalls(int fault) {
	int64_t n = ADD(calls[fault], 1);
	if (n < LOAD(first[fault]) || n > LOAD(last[fault])) return 0;
	ADD(injected, 1);
	return 1;
}

// loses counts a call that can find the device lost; once it is, all such calls do.
static int loses(int fault) {
	if (befalls(fault)) STORE(lost, 1);
	return LOAD(lost);
}

// Objects whose vkCreate takes (device, info, allocator, handle) and whose vkDestroy (device, handle, allocator),
// and what is checked of info where limits are lowered.
#define OBJECTS(X) \
	X(Buffer, KIND_BUFFER, limits_check_nothing) \
	X(BufferView, KIND_BUFFER_VIEW, limits_check_buffer_view) \
	X(PipelineCache, KIND_PIPELINE_CACHE, limits_check_nothing) \
	X(PipelineLayout, KIND_PIPELINE_LAYOUT, limits_check_pipeline_layout) \
	X(DescriptorSetLayout, KIND_SET_LAYOUT, limits_check_set_layout) \
	X(DescriptorPool, KIND_DESCRIPTOR_POOL, limits_check_nothing) \
	X(CommandPool, KIND_COMMAND_POOL, limits_check_nothing) \
	X(Fence, KIND_FENCE, limits_check_nothing) \
	X(QueryPool, KIND_QUERY_POOL, limits_check_nothing)

typedef int32_t (*Create)(void *, const void *, const void *, uint64_t *);
typedef void (*Destroy)(void *, uint64_t, const void *);

static int32_t create(Create real, int fault, int32_t failure, int kind, int32_t (*check)(const void *), void *device,
	const void *info, const void *allocator, uint64_t *handle) {
	if (befalls(fault)) return failure;
	int32_t result = check(info);
	if (result == VK_SUCCESS) result = real(device, info, allocator, handle);
	if (result == VK_SUCCESS) ADD(live[kind], 1);
	return result;
}

static void destroy(Destroy real, int kind, void *device, uint64_t handle, const void *allocator) {
	if (handle) ADD(live[kind], -1);
	real(device, handle, allocator);
}

#define OBJECT(name, kind, check) \
	static Create realCreate##name; \
	static int32_t ourCreate##name(void *device, const void *info, const void *allocator, uint64_t *handle) { \
		return create(realCreate##name, FAULT_HOST_MEMORY, VK_ERROR_OUT_OF_HOST_MEMORY, kind, check, device, info, allocator, handle); \
	} \
	static Destroy realDestroy##name; \
	static void ourDestroy##name(void *device, uint64_t handle, const void *allocator) { \
		destroy(realDestroy##name, kind, device, handle, allocator); \
	}
OBJECTS(OBJECT)

static Create realCreateShaderModule;
static int32_t ourCreateShaderModule(void *device, const void *info, const void *allocator, uint64_t *handle) {
	ModuleInfo module = *(const ModuleInfo *)info;
	uint32_t *rewritten = nan_rewrite(module.code, &module.bytes);
	if (rewritten) module.code = rewritten;
	int32_t result = create(realCreateShaderModule, FAULT_HOST_MEMORY, VK_ERROR_OUT_OF_HOST_MEMORY, KIND_SHADER_MODULE,
		limits_check_nothing, device, &module, allocator, handle);
	if (result == VK_SUCCESS) limits_keep_module(*handle, &module);
	free(rewritten);
	return result;
}

static Destroy realDestroyShaderModule;
static void ourDestroyShaderModule(void *device, uint64_t handle, const void *allocator) {
	limits_forget_module(handle);
	destroy(realDestroyShaderModule, KIND_SHADER_MODULE, device, handle, allocator);
}

static Create realAllocateMemory;
static int32_t ourAllocateMemory(void *device, const void *info, const void *allocator, uint64_t *handle) {
	return create(realAllocateMemory, FAULT_DEVICE_MEMORY, VK_ERROR_OUT_OF_DEVICE_MEMORY, KIND_MEMORY, limits_check_memory,
		device, info, allocator, handle);
}

static Destroy realFreeMemory;
static void ourFreeMemory(void *device, uint64_t handle, const void *allocator) {
	destroy(realFreeMemory, KIND_MEMORY, device, handle, allocator);
}

static int32_t (*realCreateDevice)(void *, const void *, const void *, void **);
static int32_t ourCreateDevice(void *physical, const void *info, const void *allocator, void **device) {
	if (befalls(FAULT_HOST_MEMORY)) return VK_ERROR_OUT_OF_HOST_MEMORY;
	int32_t result = limits_check_device(info);
	if (result == VK_SUCCESS && !(*device = reuse_take(physical, info))) {
		result = realCreateDevice(physical, info, allocator, device);
		if (result == VK_SUCCESS) reuse_made(physical, info, *device);
	}
	if (result == VK_SUCCESS) {
		ADD(live[KIND_DEVICE], 1);
		STORE(lastDevice, *device);
	}
	return result;
}

static int32_t (*realCreateComputePipelines)(void *, uint64_t, uint32_t, const void *, const void *, uint64_t *);
static int32_t ourCreateComputePipelines(void *device, uint64_t cache, uint32_t count, const void *infos, const void *allocator, uint64_t *handles) {
	int32_t result = loses(FAULT_COMPILE) ? VK_ERROR_DEVICE_LOST
		: befalls(FAULT_HOST_MEMORY) ? VK_ERROR_OUT_OF_HOST_MEMORY : limits_check_pipelines(count, infos);
	if (result != VK_SUCCESS) {
		memset(handles, 0, count * sizeof *handles);
		return result;
	}
	int64_t now = ADD(compiling, 1) + 1, most = LOAD(compiled_at_once);
	while (now > most && !__atomic_compare_exchange_n(&compiled_at_once, &most, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
	result = realCreateComputePipelines(device, cache, count, infos, allocator, handles);
	ADD(compiling, -1);
	for (uint32_t i = 0; i < count; i++) { // those that failed are zero
		if (handles[i]) ADD(live[KIND_PIPELINE], 1);
	}
	return result;
}

static Destroy realDestroyPipeline;
static void ourDestroyPipeline(void *device, uint64_t handle, const void *allocator) {
	destroy(realDestroyPipeline, KIND_PIPELINE, device, handle, allocator);
}

// Calls that create nothing of a kind above, or nothing at all, and may run out of host memory.
#define FALLIBLE(name, parameters, arguments) \
	static int32_t (*real##name) parameters; \
	static int32_t our##name parameters { \
		return befalls(FAULT_HOST_MEMORY) ? VK_ERROR_OUT_OF_HOST_MEMORY : real##name arguments; \
	}
FALLIBLE(AllocateCommandBuffers, (void *device, const void *info, void **buffers), (device, info, buffers))
FALLIBLE(AllocateDescriptorSets, (void *device, const void *info, uint64_t *sets), (device, info, sets))
FALLIBLE(BindBufferMemory, (void *device, uint64_t buffer, uint64_t memory, uint64_t offset), (device, buffer, memory, offset))
FALLIBLE(BeginCommandBuffer, (void *command, const void *info), (command, info))
FALLIBLE(ResetFences, (void *device, uint32_t count, const uint64_t *fences), (device, count, fences))

static int32_t (*realMapMemory)(void *, uint64_t, uint64_t, uint64_t, uint32_t, void **);
static int32_t ourMapMemory(void *device, uint64_t memory, uint64_t offset, uint64_t size, uint32_t flags, void **data) {
	if (befalls(FAULT_MAP)) return VK_ERROR_MEMORY_MAP_FAILED;
	int32_t result = limits_check_mapping(size);
	return result == VK_SUCCESS ? realMapMemory(device, memory, offset, size, flags, data) : result;
}

// A recording that could not be ended is over all the same, so the real call is made.
static int32_t (*realEndCommandBuffer)(void *);
static int32_t ourEndCommandBuffer(void *command) {
	int32_t result = realEndCommandBuffer(command);
	return befalls(FAULT_HOST_MEMORY) ? VK_ERROR_OUT_OF_HOST_MEMORY : result;
}

static int32_t (*realQueueSubmit)(void *, uint32_t, const void *, uint64_t);
static int32_t ourQueueSubmit(void *queue, uint32_t count, const void *submits, uint64_t fence) {
	if (loses(FAULT_SUBMIT)) return VK_ERROR_DEVICE_LOST;
	return befalls(FAULT_HOST_MEMORY) ? VK_ERROR_OUT_OF_HOST_MEMORY : realQueueSubmit(queue, count, submits, fence);
}

static int32_t (*realWaitForFences)(void *, uint32_t, const uint64_t *, uint32_t, uint64_t);
static int32_t ourWaitForFences(void *device, uint32_t count, const uint64_t *fences, uint32_t all, uint64_t timeout) {
	return loses(FAULT_WAIT) ? VK_ERROR_DEVICE_LOST : realWaitForFences(device, count, fences, all, timeout);
}

static int32_t (*realGetFenceStatus)(void *, uint64_t);
static int32_t ourGetFenceStatus(void *device, uint64_t fence) {
	return LOAD(lost) ? VK_ERROR_DEVICE_LOST : realGetFenceStatus(device, fence);
}

static int32_t (*realGetQueryPoolResults)(void *, uint64_t, uint32_t, uint32_t, size_t, void *, uint64_t, uint32_t);
static int32_t ourGetQueryPoolResults(void *device, uint64_t pool, uint32_t from, uint32_t count, size_t size, void *data, uint64_t stride, uint32_t flags) {
	if (LOAD(lost)) return VK_ERROR_DEVICE_LOST;
	int32_t result = realGetQueryPoolResults(device, pool, from, count, size, data, stride, flags);
	uint64_t *ticks = data; // this module asks for 64 bits each, one after the other
	for (uint32_t i = 0; result == VK_SUCCESS && i < count; i++) ticks[i] *= LOAD(slowness);
	return result;
}

// The device behind the make-believe loss still runs what was submitted before: waiting for it is real.
static int32_t (*realDeviceWaitIdle)(void *);
static int32_t ourDeviceWaitIdle(void *device) {
	int32_t result = realDeviceWaitIdle(device);
	if (result != VK_SUCCESS) reuse_forget(device);
	return LOAD(lost) ? VK_ERROR_DEVICE_LOST : result;
}

static void (*realDestroyDevice)(void *, const void *);
static void ourDestroyDevice(void *device, const void *allocator) {
	if (device) ADD(live[KIND_DEVICE], -1);
	if (!reuse_keep(device)) realDestroyDevice(device, allocator);
}

static int32_t (*realQueueWaitIdle)(void *);
static int32_t ourQueueWaitIdle(void *queue) {
	int32_t result = realQueueWaitIdle(queue);
	return LOAD(lost) ? VK_ERROR_DEVICE_LOST : result;
}

static void (*realGetPhysicalDeviceProperties)(void *, void *);
static void ourGetPhysicalDeviceProperties(void *physical, void *properties) {
	realGetPhysicalDeviceProperties(physical, properties);
	limits_lower_properties(properties);
}

static void (*realGetPhysicalDeviceProperties2)(void *, void *);
static void ourGetPhysicalDeviceProperties2(void *physical, void *properties) {
	realGetPhysicalDeviceProperties2(physical, properties);
	limits_lower_properties2(properties);
}

static void (*realGetPhysicalDeviceFeatures2)(void *, void *);
static void ourGetPhysicalDeviceFeatures2(void *physical, void *features) {
	realGetPhysicalDeviceFeatures2(physical, features);
	limits_lower_features2(features);
}

static void (*realGetPhysicalDeviceMemoryProperties)(void *, void *);
static void ourGetPhysicalDeviceMemoryProperties(void *physical, void *properties) {
	realGetPhysicalDeviceMemoryProperties(physical, properties);
	limits_lower_memory_properties(properties);
}

static void (*realGetBufferMemoryRequirements)(void *, uint64_t, void *);
static void ourGetBufferMemoryRequirements(void *device, uint64_t buffer, void *requirements) {
	realGetBufferMemoryRequirements(device, buffer, requirements);
	limits_lower_requirements(requirements);
}

static int32_t (*realEnumerateDeviceExtensionProperties)(void *, const char *, uint32_t *, void *);
static int32_t ourEnumerateDeviceExtensionProperties(void *physical, const char *layer, uint32_t *count, void *list) {
	if (!limits_hide_extensions()) return realEnumerateDeviceExtensionProperties(physical, layer, count, list);
	*count = 0;
	return VK_SUCCESS;
}

static void (*realUpdateDescriptorSets)(void *, uint32_t, const void *, uint32_t, const void *);
static void ourUpdateDescriptorSets(void *device, uint32_t count, const void *writes, uint32_t copies, const void *copy) {
	limits_check_writes(count, writes);
	realUpdateDescriptorSets(device, count, writes, copies, copy);
}

static void (*realCmdDispatch)(void *, uint32_t, uint32_t, uint32_t);
static void ourCmdDispatch(void *command, uint32_t x, uint32_t y, uint32_t z) {
	limits_check_groups(x, y, z);
	realCmdDispatch(command, x, y, z);
}

static Function ourInstanceProcAddr(void *, const char *);
static Function ourDeviceProcAddr(void *, const char *);

static const struct {
	const char *name;
	Function ours;
	void *real; // the variable for the real function
} table[] = {
#define ENTRY(name) {"vk" #name, (Function)our##name, &real##name},
#define OBJECT_ENTRIES(name, kind, check) ENTRY(Create##name) ENTRY(Destroy##name)
	OBJECTS(OBJECT_ENTRIES)
	ENTRY(CreateShaderModule) ENTRY(DestroyShaderModule)
	ENTRY(AllocateMemory) ENTRY(FreeMemory)
	ENTRY(CreateDevice) ENTRY(DestroyDevice)
	ENTRY(CreateComputePipelines) ENTRY(DestroyPipeline)
	ENTRY(AllocateCommandBuffers) ENTRY(AllocateDescriptorSets)
	ENTRY(MapMemory) ENTRY(BindBufferMemory)
	ENTRY(BeginCommandBuffer) ENTRY(EndCommandBuffer)
	ENTRY(ResetFences)
	ENTRY(QueueSubmit) ENTRY(WaitForFences) ENTRY(GetFenceStatus) ENTRY(GetQueryPoolResults)
	ENTRY(DeviceWaitIdle) ENTRY(QueueWaitIdle)
	ENTRY(GetPhysicalDeviceProperties) ENTRY(GetPhysicalDeviceProperties2) ENTRY(GetPhysicalDeviceFeatures2)
	ENTRY(GetPhysicalDeviceMemoryProperties) ENTRY(GetBufferMemoryRequirements)
	ENTRY(EnumerateDeviceExtensionProperties) ENTRY(UpdateDescriptorSets) ENTRY(CmdDispatch)
};

// Function pointers are kept through their bytes: the types differ from entry to entry.
static void keep(void *variable, Function real) {
	void *bits;
	memcpy(&bits, &real, sizeof bits);
	STORE(*(void **)variable, bits);
}

// substitute returns our function of the name, remembering the real one, or found where we have none.
static Function substitute(const char *name, Function found) {
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		if (strcmp(name, table[i].name) != 0) continue;
		Function real = realInstanceProcAddr(LOAD(lastInstance), name);
		if (!real) return NULL;
		keep(table[i].real, real);
		return table[i].ours;
	}
	return found;
}

static Function ourInstanceProcAddr(void *instance, const char *name) {
	if (instance) STORE(lastInstance, instance);
	Function found = realInstanceProcAddr(instance, name);
	if (!found) return NULL;
	if (strcmp(name, "vkGetInstanceProcAddr") == 0) return (Function)ourInstanceProcAddr;
	if (strcmp(name, "vkGetDeviceProcAddr") == 0) {
		keep(&realDeviceProcAddr, found);
		return (Function)ourDeviceProcAddr;
	}
	return substitute(name, found);
}

static Function ourDeviceProcAddr(void *device, const char *name) {
	Function found = realDeviceProcAddr(device, name);
	if (!found) return NULL;
	if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (Function)ourDeviceProcAddr;
	return substitute(name, found);
}

void *interpose_wrap(void *get_instance_proc_addr) {
	memcpy(&realInstanceProcAddr, &get_instance_proc_addr, sizeof realInstanceProcAddr);
	ProcAddr ours = ourInstanceProcAddr;
	void *wrapped;
	memcpy(&wrapped, &ours, sizeof wrapped);
	return wrapped;
}

int64_t interpose_live(int kind) { return LOAD(live[kind]); }
int64_t interpose_calls(int fault) { return LOAD(calls[fault]); }
int64_t interpose_injected(void) { return LOAD(injected); }

void interpose_inject(int fault, int64_t from, int64_t to) {
	STORE(last[fault], -1); // nothing fails while the range is half set
	STORE(first[fault], from);
	STORE(last[fault], to);
}

void interpose_reset(void) {
	for (int i = 0; i < FAULTS; i++) {
		interpose_inject(i, -1, -1);
		STORE(calls[i], 0);
	}
	STORE(injected, 0);
	STORE(compiled_at_once, 0);
	STORE(lost, 0);
}

int64_t interpose_compiled_at_once(void) { return LOAD(compiled_at_once); }

void interpose_slow(uint64_t factor) { STORE(slowness, factor); }

void interpose_lookup(const char *name, void **by_instance, void **by_device) {
	Function f = ourInstanceProcAddr(LOAD(lastInstance), name);
	memcpy(by_instance, &f, sizeof f);
	ProcAddr deviceProcAddr = (ProcAddr)ourInstanceProcAddr(LOAD(lastInstance), "vkGetDeviceProcAddr");
	f = deviceProcAddr(LOAD(lastDevice), name);
	memcpy(by_device, &f, sizeof f);
}

void interpose_perturb(int value) {
#ifdef M_PERTURB
	mallopt(M_PERTURB, value);
#else
	(void)value; // not the GNU C library
#endif
}
