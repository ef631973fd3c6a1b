// The part of Vulkan that this package calls from C.
//
// Two reasons bring a call here: the Go binding passes arrays of structs in memory that the garbage
// collector may free during the call, or the binding (Vulkan 1.0 functions) does not have it. All
// structs below live on the C stack or in C memory. Every function pointer comes from the
// vkGetInstanceProcAddr that the binding was given too, so that one interposed there sees all calls.
//
// The declarations follow the Vulkan registry, reduced to what is used; no Vulkan header is needed
// to build. Handles that Vulkan calls dispatchable are void *, the others uint64_t.
#include "shim.h"

#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#define VKAPI __stdcall
#else
#include <dlfcn.h>
#define VKAPI
#endif

enum {
	VK_SUCCESS = 0,
	VK_ERROR_OUT_OF_HOST_MEMORY = -1,

	STYPE_SUBMIT_INFO = 4,
	STYPE_SHADER_MODULE_CREATE_INFO = 16,
	STYPE_PIPELINE_SHADER_STAGE_CREATE_INFO = 18,
	STYPE_COMPUTE_PIPELINE_CREATE_INFO = 29,
	STYPE_DESCRIPTOR_SET_ALLOCATE_INFO = 34,
	STYPE_WRITE_DESCRIPTOR_SET = 35,
	STYPE_MEMORY_BARRIER = 46,
	STYPE_FEATURES_2 = 1000059000,
	STYPE_PROPERTIES_2 = 1000059001,
	STYPE_FEATURES_FLOAT16_INT8 = 1000082000,
	STYPE_FEATURES_16BIT_STORAGE = 1000083000,
	STYPE_PROPERTIES_SUBGROUP = 1000094000,
	STYPE_PROPERTIES_MAINTENANCE_3 = 1000168000,
	STYPE_PROPERTIES_DRIVER = 1000196000,

	QUEUE_GRAPHICS = 1,
	QUEUE_COMPUTE = 2,
	STAGE_COMPUTE = 0x20,

	// Positions in VkPhysicalDeviceFeatures, an array of 55 VkBool32.
	FEATURE_COUNT = 55,
	FEATURE_FLOAT64 = 39,
	FEATURE_INT64 = 40,

	// sizeof(VkPhysicalDeviceProperties) on 64-bit machines is 824; more is harmless.
	PROPERTIES_WORDS = 128,
};

typedef struct { char name[256]; uint32_t version; } Extension;
typedef struct { uint32_t flags, count, timestamp_bits, granularity[3]; } QueueFamily;

typedef struct { uint32_t type; void *next; uint32_t features[FEATURE_COUNT]; } Features2;
typedef struct { uint32_t type; void *next; uint32_t buffer, uniform, push, input_output; } Features16BitStorage;
typedef struct { uint32_t type; void *next; uint32_t float16, int8; } FeaturesFloat16Int8;

typedef struct { uint32_t type; void *next; uint64_t properties[PROPERTIES_WORDS]; } Properties2;
typedef struct { uint32_t type; void *next; uint32_t size, stages, operations, quad; } PropertiesSubgroup;
typedef struct { uint32_t type; void *next; uint32_t max_descriptors; uint64_t max_allocation; } PropertiesMaintenance3;
typedef struct { uint32_t type; void *next; uint32_t id; char name[256], info[256]; uint8_t conformance[4]; } PropertiesDriver;

typedef struct {
	uint32_t type; const void *next;
	uint32_t wait_count; const uint64_t *waits; const uint32_t *wait_stages;
	uint32_t command_count; void *const *commands;
	uint32_t signal_count; const uint64_t *signals;
} SubmitInfo;
typedef struct { uint32_t type; const void *next; uint32_t src_access, dst_access; } MemoryBarrier;
typedef struct { uint64_t src_offset, dst_offset, size; } BufferCopy;
typedef struct { uint64_t buffer, offset, range; } DescriptorBufferInfo;
typedef struct { uint32_t type; const void *next; uint64_t pool; uint32_t count; const uint64_t *layouts; } DescriptorSetAllocateInfo;
typedef struct {
	uint32_t type; const void *next;
	uint64_t set; uint32_t binding, element, count, descriptor_type;
	const void *images; const DescriptorBufferInfo *buffers; const uint64_t *views;
} WriteDescriptorSet;
typedef struct { uint32_t type; const void *next; uint32_t flags; size_t bytes; const uint32_t *code; } ShaderModuleCreateInfo;
typedef struct { uint32_t id, offset; size_t size; } SpecializationMapEntry;
typedef struct { uint32_t count; const SpecializationMapEntry *entries; size_t bytes; const void *data; } SpecializationInfo;
typedef struct {
	uint32_t type; const void *next;
	uint32_t flags, stage; uint64_t module; const char *name; const SpecializationInfo *specialization;
} PipelineShaderStageCreateInfo;
typedef struct {
	uint32_t type; const void *next;
	uint32_t flags; PipelineShaderStageCreateInfo stage; uint64_t layout, base; int32_t base_index;
} ComputePipelineCreateInfo;

typedef void (VKAPI *AnyFunction)(void);
static AnyFunction (VKAPI *getInstanceProcAddr)(void *, const char *);

static struct {
	int32_t (VKAPI *EnumerateInstanceVersion)(uint32_t *);
	int32_t (VKAPI *EnumerateInstanceExtensionProperties)(const char *, uint32_t *, Extension *);

	int32_t (VKAPI *EnumerateDeviceExtensionProperties)(void *, const char *, uint32_t *, Extension *);
	void (VKAPI *GetPhysicalDeviceQueueFamilyProperties)(void *, uint32_t *, QueueFamily *);
	void (VKAPI *GetPhysicalDeviceFeatures2)(void *, Features2 *);
	void (VKAPI *GetPhysicalDeviceProperties2)(void *, Properties2 *);
	int32_t (VKAPI *QueueSubmit)(void *, uint32_t, const SubmitInfo *, uint64_t);
	int32_t (VKAPI *ResetFences)(void *, uint32_t, const uint64_t *);
	int32_t (VKAPI *WaitForFences)(void *, uint32_t, const uint64_t *, uint32_t, uint64_t);
	int32_t (VKAPI *GetFenceStatus)(void *, uint64_t);
	void (VKAPI *CmdPipelineBarrier)(void *, uint32_t, uint32_t, uint32_t, uint32_t, const MemoryBarrier *,
		uint32_t, const void *, uint32_t, const void *);
	void (VKAPI *CmdCopyBuffer)(void *, uint64_t, uint64_t, uint32_t, const BufferCopy *);
	int32_t (VKAPI *AllocateDescriptorSets)(void *, const DescriptorSetAllocateInfo *, uint64_t *);
	void (VKAPI *UpdateDescriptorSets)(void *, uint32_t, const WriteDescriptorSet *, uint32_t, const void *);
	int32_t (VKAPI *CreateShaderModule)(void *, const ShaderModuleCreateInfo *, const void *, uint64_t *);
	void (VKAPI *DestroyShaderModule)(void *, uint64_t, const void *);
	int32_t (VKAPI *CreateComputePipelines)(void *, uint64_t, uint32_t, const ComputePipelineCreateInfo *, const void *, uint64_t *);
} vk;

// A function pointer is stored through its bytes: the types differ from slot to slot.
static int load(void *instance, const char *name, void *slot) {
	AnyFunction f = getInstanceProcAddr(instance, name);
	memcpy(slot, &f, sizeof f);
	return f != NULL;
}

void *lemnos_open_library(const char *name) {
#ifdef _WIN32
	HMODULE library = LoadLibraryA(name);
	return library ? (void *)GetProcAddress(library, "vkGetInstanceProcAddr") : NULL;
#else
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	return library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
#endif
}

// lemnos_load takes over vkGetInstanceProcAddr; 0 when it does not even know the global functions.
int lemnos_load(void *get_instance_proc_addr) {
	memcpy(&getInstanceProcAddr, &get_instance_proc_addr, sizeof getInstanceProcAddr);
	load(NULL, "vkEnumerateInstanceVersion", &vk.EnumerateInstanceVersion); // absent in Vulkan 1.0
	return load(NULL, "vkEnumerateInstanceExtensionProperties", &vk.EnumerateInstanceExtensionProperties);
}

// lemnos_load_instance returns the name of the first function that is missing, or NULL.
const char *lemnos_load_instance(void *instance) {
#define LOAD(f) if (!load(instance, "vk" #f, &vk.f)) return "vk" #f
	LOAD(EnumerateDeviceExtensionProperties);
	LOAD(GetPhysicalDeviceQueueFamilyProperties);
	LOAD(GetPhysicalDeviceFeatures2);
	LOAD(GetPhysicalDeviceProperties2);
	LOAD(QueueSubmit);
	LOAD(ResetFences);
	LOAD(WaitForFences);
	LOAD(GetFenceStatus);
	LOAD(CmdPipelineBarrier);
	LOAD(CmdCopyBuffer);
	LOAD(AllocateDescriptorSets);
	LOAD(UpdateDescriptorSets);
	LOAD(CreateShaderModule);
	LOAD(DestroyShaderModule);
	LOAD(CreateComputePipelines);
#undef LOAD
	return NULL;
}

uint32_t lemnos_instance_version(void) {
	uint32_t version = 1u << 22; // 1.0, whose loaders lack the call
	if (vk.EnumerateInstanceVersion) vk.EnumerateInstanceVersion(&version);
	return version;
}

static int listed(const Extension *list, uint32_t count, const char *name) {
	for (uint32_t i = 0; i < count; i++) {
		if (strncmp(list[i].name, name, sizeof list[i].name) == 0) return 1;
	}
	return 0;
}

int lemnos_has_instance_extension(const char *name) {
	uint32_t count = 0;
	if (vk.EnumerateInstanceExtensionProperties(NULL, &count, NULL) < 0 || count == 0) return 0;
	Extension *list = calloc(count, sizeof *list);
	int found = list && vk.EnumerateInstanceExtensionProperties(NULL, &count, list) >= 0 && listed(list, count, name);
	free(list);
	return found;
}

int lemnos_has_device_extension(void *physical, const char *name) {
	uint32_t count = 0;
	if (vk.EnumerateDeviceExtensionProperties(physical, NULL, &count, NULL) < 0 || count == 0) return 0;
	Extension *list = calloc(count, sizeof *list);
	int found = list && vk.EnumerateDeviceExtensionProperties(physical, NULL, &count, list) >= 0 && listed(list, count, name);
	free(list);
	return found;
}

// Prefers a family that draws as well: it is the main queue of every card, with timestamps and
// without the reduced priority some drivers give to their asynchronous compute queues.
static void query_queues(void *physical, lemnos_caps *caps) {
	caps->queue_family = UINT32_MAX;
	uint32_t count = 0;
	vk.GetPhysicalDeviceQueueFamilyProperties(physical, &count, NULL);
	QueueFamily *list = calloc(count ? count : 1, sizeof *list);
	if (!list) return;
	vk.GetPhysicalDeviceQueueFamilyProperties(physical, &count, list);
	for (uint32_t i = 0; i < count; i++) {
		if (!(list[i].flags & QUEUE_COMPUTE) || list[i].count == 0) continue;
		int main_queue = (list[i].flags & QUEUE_GRAPHICS) != 0;
		if (caps->queue_family != UINT32_MAX && !main_queue) continue;
		caps->queue_family = i;
		caps->timestamp_bits = list[i].timestamp_bits;
		if (main_queue) break;
	}
	free(list);
}

void lemnos_query(void *physical, lemnos_caps *caps) {
	memset(caps, 0, sizeof *caps);
	query_queues(physical, caps);

	PropertiesDriver driver = {.type = STYPE_PROPERTIES_DRIVER};
	PropertiesMaintenance3 maintenance3 = {.type = STYPE_PROPERTIES_MAINTENANCE_3};
	PropertiesSubgroup subgroup = {.type = STYPE_PROPERTIES_SUBGROUP, .next = &maintenance3};
	Properties2 properties = {.type = STYPE_PROPERTIES_2, .next = &subgroup};
	if (lemnos_has_device_extension(physical, "VK_KHR_driver_properties")) maintenance3.next = &driver;
	vk.GetPhysicalDeviceProperties2(physical, &properties);
	caps->subgroup_size = subgroup.size;
	caps->subgroup_stages = subgroup.stages;
	caps->subgroup_operations = subgroup.operations;
	caps->max_allocation = maintenance3.max_allocation;
	memcpy(caps->driver_name, driver.name, sizeof driver.name);
	memcpy(caps->driver_info, driver.info, sizeof driver.info);

	FeaturesFloat16Int8 arithmetic16 = {.type = STYPE_FEATURES_FLOAT16_INT8};
	Features16BitStorage storage16 = {.type = STYPE_FEATURES_16BIT_STORAGE};
	Features2 features = {.type = STYPE_FEATURES_2, .next = &storage16};
	if (lemnos_has_device_extension(physical, "VK_KHR_shader_float16_int8")) storage16.next = &arithmetic16;
	vk.GetPhysicalDeviceFeatures2(physical, &features);
	caps->float64 = features.features[FEATURE_FLOAT64];
	caps->int64 = features.features[FEATURE_INT64];
	caps->storage16 = storage16.buffer;
	caps->float16 = arithmetic16.float16;
}

// lemnos_feature_chain is a VkDeviceCreateInfo.pNext that enables what caps reports; one block, for free().
void *lemnos_feature_chain(const lemnos_caps *caps) {
	struct { Features2 core; Features16BitStorage storage16; FeaturesFloat16Int8 arithmetic16; } *chain = calloc(1, sizeof *chain);
	if (!chain) return NULL;
	chain->core.type = STYPE_FEATURES_2;
	chain->core.next = &chain->storage16;
	chain->core.features[FEATURE_FLOAT64] = caps->float64;
	chain->core.features[FEATURE_INT64] = caps->int64;
	chain->storage16.type = STYPE_FEATURES_16BIT_STORAGE;
	chain->storage16.buffer = caps->storage16;
	chain->arithmetic16.type = STYPE_FEATURES_FLOAT16_INT8;
	chain->arithmetic16.float16 = caps->float16;
	if (caps->float16) chain->storage16.next = &chain->arithmetic16; // the extension is enabled with it
	return chain;
}

int32_t lemnos_submit(void *device, void *queue, uint64_t fence, uint32_t count, void **commands) {
	int32_t result = vk.ResetFences(device, 1, &fence);
	if (result != VK_SUCCESS) return result;
	SubmitInfo info = {.type = STYPE_SUBMIT_INFO, .command_count = count, .commands = commands};
	return vk.QueueSubmit(queue, 1, &info, fence);
}

int32_t lemnos_wait(void *device, uint64_t fence, uint64_t timeout_ns) {
	return vk.WaitForFences(device, 1, &fence, 1, timeout_ns);
}

int32_t lemnos_fence_status(void *device, uint64_t fence) {
	return vk.GetFenceStatus(device, fence);
}

void lemnos_barrier(void *command, uint32_t src_stages, uint32_t dst_stages, uint32_t src_access, uint32_t dst_access) {
	MemoryBarrier barrier = {.type = STYPE_MEMORY_BARRIER, .src_access = src_access, .dst_access = dst_access};
	vk.CmdPipelineBarrier(command, src_stages, dst_stages, 0, 1, &barrier, 0, NULL, 0, NULL);
}

void lemnos_copy(void *command, uint64_t src, uint64_t dst, uint64_t src_offset, uint64_t dst_offset, uint64_t size) {
	BufferCopy region = {src_offset, dst_offset, size};
	vk.CmdCopyBuffer(command, src, dst, 1, &region);
}

// lemnos_descriptor_set allocates one set and fills it.
int32_t lemnos_descriptor_set(void *device, uint64_t pool, uint64_t layout, uint32_t count,
	const lemnos_descriptor *descriptors, uint64_t *set) {
	DescriptorSetAllocateInfo info = {STYPE_DESCRIPTOR_SET_ALLOCATE_INFO, NULL, pool, 1, &layout};
	uint64_t allocated = 0;
	int32_t result = vk.AllocateDescriptorSets(device, &info, &allocated);
	if (result != VK_SUCCESS) return result;
	for (uint32_t i = 0; i < count; i++) {
		const lemnos_descriptor *d = &descriptors[i];
		DescriptorBufferInfo buffer = {d->buffer, d->offset, d->size};
		WriteDescriptorSet write = {
			.type = STYPE_WRITE_DESCRIPTOR_SET, .set = allocated, .binding = d->binding, .count = 1,
			.descriptor_type = d->type, .buffers = &buffer, .views = &d->view,
		};
		vk.UpdateDescriptorSets(device, 1, &write, 0, NULL);
	}
	*set = allocated;
	return VK_SUCCESS;
}

// lemnos_pipeline compiles the entry point "main"; the shader module lives only during the call.
int32_t lemnos_pipeline(void *device, uint64_t cache, uint64_t layout, const uint32_t *code, size_t code_bytes,
	uint32_t spec_count, const uint32_t *spec_ids, const uint32_t *spec_values, uint64_t *pipeline) {
	SpecializationMapEntry *entries = calloc(spec_count ? spec_count : 1, sizeof *entries);
	if (!entries) return VK_ERROR_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < spec_count; i++) {
		entries[i] = (SpecializationMapEntry){spec_ids[i], 4 * i, 4};
	}
	SpecializationInfo specialization = {spec_count, entries, 4 * (size_t)spec_count, spec_values};
	ShaderModuleCreateInfo module_info = {STYPE_SHADER_MODULE_CREATE_INFO, NULL, 0, code_bytes, code};
	uint64_t module = 0;
	int32_t result = vk.CreateShaderModule(device, &module_info, NULL, &module);
	if (result == VK_SUCCESS) {
		ComputePipelineCreateInfo info = {
			.type = STYPE_COMPUTE_PIPELINE_CREATE_INFO,
			.stage = {
				.type = STYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, .stage = STAGE_COMPUTE,
				.module = module, .name = "main", .specialization = spec_count ? &specialization : NULL,
			},
			.layout = layout, .base_index = -1,
		};
		uint64_t created = 0;
		result = vk.CreateComputePipelines(device, cache, 1, &info, NULL, &created);
		vk.DestroyShaderModule(device, module, NULL);
		if (result == VK_SUCCESS) *pipeline = created;
	}
	free(entries);
	return result;
}
