// The part of Vulkan that this package calls from C.
//
// Two reasons bring a call here: the Go binding passes arrays of structs and of strings, those inside
// structs included, in memory that the garbage collector may free before or during the call, or the
// binding (Vulkan 1.0 functions) does not have it. Here they live on the C stack, in C memory, or in a Go
// slice that the call itself keeps. Every function pointer comes from the vkGetInstanceProcAddr that
// the binding was given too, so that one interposed there sees all calls.
#include "shim.h"
#include "calls.h"

#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

typedef void (VKAPI *AnyFunction)(void);
static AnyFunction (VKAPI *getInstanceProcAddr)(void *, const char *);
struct calls vk;

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

// The loads return the name of the first function that is missing, or NULL.
#define LOAD(instance, f) if (!load(instance, "vk" #f, &vk.f)) return "vk" #f

// lemnos_load takes over vkGetInstanceProcAddr.
const char *lemnos_load(void *get_instance_proc_addr) {
	memcpy(&getInstanceProcAddr, &get_instance_proc_addr, sizeof getInstanceProcAddr);
	load(NULL, "vkEnumerateInstanceVersion", &vk.EnumerateInstanceVersion); // absent in Vulkan 1.0
	LOAD(NULL, EnumerateInstanceExtensionProperties);
	LOAD(NULL, CreateInstance);
	return NULL;
}

const char *lemnos_load_instance(void *instance) {
	LOAD(instance, EnumerateDeviceExtensionProperties);
	LOAD(instance, GetPhysicalDeviceQueueFamilyProperties);
	LOAD(instance, GetPhysicalDeviceFeatures2);
	LOAD(instance, GetPhysicalDeviceProperties2);
	LOAD(instance, CreateDevice);
	LOAD(instance, QueueSubmit);
	LOAD(instance, ResetFences);
	LOAD(instance, WaitForFences);
	LOAD(instance, GetFenceStatus);
	LOAD(instance, CmdPipelineBarrier);
	LOAD(instance, CmdCopyBuffer);
	LOAD(instance, CreateDescriptorSetLayout);
	LOAD(instance, CreatePipelineLayout);
	LOAD(instance, CreateDescriptorPool);
	LOAD(instance, AllocateDescriptorSets);
	LOAD(instance, UpdateDescriptorSets);
	LOAD(instance, CreateShaderModule);
	LOAD(instance, DestroyShaderModule);
	LOAD(instance, CreateComputePipelines);
	load(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR", &vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR);
	load(instance, "vkGetPipelineExecutablePropertiesKHR", &vk.GetPipelineExecutablePropertiesKHR);
	load(instance, "vkGetPipelineExecutableStatisticsKHR", &vk.GetPipelineExecutableStatisticsKHR);
	return NULL;
}

uint32_t lemnos_instance_version(void) {
	uint32_t version = VK_VERSION_1_0; // whose loaders lack the call
	if (vk.EnumerateInstanceVersion) vk.EnumerateInstanceVersion(&version);
	return version;
}

static int32_t enumerate_extensions(void *physical, uint32_t *count, Extension *list) {
	return physical ? vk.EnumerateDeviceExtensionProperties(physical, NULL, count, list)
			: vk.EnumerateInstanceExtensionProperties(NULL, count, list);
}

int has_extension(void *physical, const char *name) {
	uint32_t count = 0;
	if (enumerate_extensions(physical, &count, NULL) < 0 || count == 0) return 0;
	Extension *list = calloc(count, sizeof *list);
	int found = 0;
	if (list && enumerate_extensions(physical, &count, list) >= 0) {
		for (uint32_t i = 0; i < count; i++) found |= strncmp(list[i].name, name, sizeof list[i].name) == 0;
	}
	free(list);
	return found;
}

int32_t lemnos_create_instance(void **instance) {
	ApplicationInfo application = {.type = STYPE_APPLICATION_INFO, .name = "lemnos", .engine = "lemnos", .api = VK_VERSION_1_1};
	InstanceCreateInfo info = {.type = STYPE_INSTANCE_CREATE_INFO, .application = &application};
	// Drivers on top of another interface (MoltenVK on Metal) are listed only to those who ask.
	static const char *const portability = "VK_KHR_portability_enumeration";
	if (has_extension(NULL, portability)) {
		info.flags = INSTANCE_ENUMERATE_PORTABILITY;
		info.extension_count = 1;
		info.extensions = &portability;
	}
	return vk.CreateInstance(&info, NULL, instance);
}

int32_t lemnos_submit(void *device, void *queue, uint64_t fence, uint32_t count, void **commands) {
	int32_t result = fence ? vk.ResetFences(device, 1, &fence) : VK_SUCCESS;
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
	GlobalBarrier barrier = {.type = STYPE_MEMORY_BARRIER, .src_access = src_access, .dst_access = dst_access};
	vk.CmdPipelineBarrier(command, src_stages, dst_stages, 0, 1, &barrier, 0, NULL, 0, NULL);
}

void lemnos_copy(void *command, uint64_t src, uint64_t dst, uint64_t src_offset, uint64_t dst_offset, uint64_t size) {
	BufferCopy region = {src_offset, dst_offset, size};
	vk.CmdCopyBuffer(command, src, dst, 1, &region);
}

int32_t lemnos_set_layout(void *device, uint32_t count, const lemnos_binding *bindings, uint64_t *layout) {
	DescriptorSetLayoutCreateInfo info = {
		.type = STYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .count = count, .bindings = bindings,
	};
	return vk.CreateDescriptorSetLayout(device, &info, NULL, layout);
}

int32_t lemnos_pipeline_layout(void *device, uint64_t set_layout, uint32_t push_bytes, uint64_t *layout) {
	PushConstantRange range = {STAGE_COMPUTE, 0, push_bytes};
	PipelineLayoutCreateInfo info = {
		.type = STYPE_PIPELINE_LAYOUT_CREATE_INFO, .set_count = 1, .sets = &set_layout,
		.range_count = push_bytes > 0, .ranges = &range,
	};
	return vk.CreatePipelineLayout(device, &info, NULL, layout);
}

// lemnos_descriptor_pool makes a pool for that many sets with as many storage and texel buffers in all.
int32_t lemnos_descriptor_pool(void *device, uint32_t sets, uint32_t storage, uint32_t texel, uint64_t *pool) {
	DescriptorPoolSize sizes[2];
	uint32_t count = 0;
	if (storage) sizes[count++] = (DescriptorPoolSize){DESCRIPTOR_STORAGE_BUFFER, storage};
	if (texel) sizes[count++] = (DescriptorPoolSize){DESCRIPTOR_UNIFORM_TEXEL_BUFFER, texel};
	DescriptorPoolCreateInfo info = {
		.type = STYPE_DESCRIPTOR_POOL_CREATE_INFO, .sets = sets, .count = count, .sizes = sizes,
	};
	return vk.CreateDescriptorPool(device, &info, NULL, pool);
}

// lemnos_descriptor_set allocates one set and fills it.
int32_t lemnos_descriptor_set(void *device, uint64_t pool, uint64_t layout, uint32_t count,
	const lemnos_descriptor *descriptors, uint64_t *set) {
	DescriptorSetAllocateInfo info = {STYPE_DESCRIPTOR_SET_ALLOCATE_INFO, NULL, pool, 1, &layout};
	int32_t result = vk.AllocateDescriptorSets(device, &info, set);
	if (result != VK_SUCCESS) return result;
	for (uint32_t i = 0; i < count; i++) {
		const lemnos_descriptor *d = &descriptors[i];
		DescriptorBufferInfo buffer = {d->buffer, d->offset, d->size};
		WriteDescriptorSet write = {
			.type = STYPE_WRITE_DESCRIPTOR_SET, .set = *set, .binding = d->binding, .count = 1,
			.descriptor_type = d->type, .buffers = &buffer, .views = &d->view,
		};
		vk.UpdateDescriptorSets(device, 1, &write, 0, NULL);
	}
	return VK_SUCCESS;
}

// lemnos_pipeline compiles the entry point "main", for full subgroups of subgroup_size invocations unless that is 0; the
// shader module lives only during the call.
int32_t lemnos_pipeline(void *device, uint64_t cache, uint64_t layout, const uint32_t *code, size_t code_bytes,
	uint32_t spec_count, const uint32_t *spec_ids, const uint32_t *spec_values, uint32_t subgroup_size, int statistics,
	uint64_t *pipeline) {
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
		RequiredSubgroupSize required = {.type = STYPE_REQUIRED_SUBGROUP_SIZE, .size = subgroup_size};
		ComputePipelineCreateInfo info = {
			.type = STYPE_COMPUTE_PIPELINE_CREATE_INFO, .flags = statistics ? PIPELINE_CAPTURE_STATISTICS : 0,
			.stage = {
				.type = STYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, .next = subgroup_size ? &required : NULL,
				.flags = subgroup_size ? REQUIRE_FULL_SUBGROUPS : 0, .stage = STAGE_COMPUTE,
				.module = module, .name = "main", .specialization = spec_count ? &specialization : NULL,
			},
			.layout = layout, .base_index = -1,
		};
		result = vk.CreateComputePipelines(device, cache, 1, &info, NULL, pipeline);
		vk.DestroyShaderModule(device, module, NULL);
	}
	free(entries);
	return result;
}

// lemnos_executables lists what a pipeline was compiled to, lemnos_statistics what is known of one of them. Both are called
// twice, as Vulkan's own: without a list they count.
int32_t lemnos_executables(void *device, uint64_t pipeline, uint32_t *count, lemnos_executable *list) {
	PipelineInfo info = {.type = STYPE_PIPELINE_INFO, .pipeline = pipeline};
	if (!list) return vk.GetPipelineExecutablePropertiesKHR(device, &info, count, NULL);
	PipelineExecutableProperties *all = calloc(*count, sizeof *all);
	if (!all) return VK_ERROR_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < *count; i++) all[i].type = STYPE_PIPELINE_EXECUTABLE_PROPERTIES;
	int32_t result = vk.GetPipelineExecutablePropertiesKHR(device, &info, count, all);
	for (uint32_t i = 0; i < *count; i++) {
		memcpy(list[i].name, all[i].name, sizeof list[i].name);
		memcpy(list[i].description, all[i].description, sizeof list[i].description);
		list[i].subgroup_size = all[i].subgroup_size;
	}
	free(all);
	return result;
}

int32_t lemnos_statistics(void *device, uint64_t pipeline, uint32_t executable, uint32_t *count, lemnos_statistic *list) {
	PipelineExecutableInfo info = {.type = STYPE_PIPELINE_EXECUTABLE_INFO, .pipeline = pipeline, .index = executable};
	if (!list) return vk.GetPipelineExecutableStatisticsKHR(device, &info, count, NULL);
	PipelineExecutableStatistic *all = calloc(*count, sizeof *all);
	if (!all) return VK_ERROR_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < *count; i++) all[i].type = STYPE_PIPELINE_EXECUTABLE_STATISTIC;
	int32_t result = vk.GetPipelineExecutableStatisticsKHR(device, &info, count, all);
	for (uint32_t i = 0; i < *count; i++) {
		memcpy(list[i].name, all[i].name, sizeof list[i].name);
		memcpy(list[i].description, all[i].description, sizeof list[i].description);
		double values[] = {all[i].value.b32 != 0, (double)all[i].value.i64, (double)all[i].value.u64, all[i].value.f64};
		list[i].value = values[all[i].format & 3];
	}
	free(all);
	return result;
}
