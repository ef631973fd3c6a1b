// What a device offers, and the device made with all of it that this package uses.
#include "calls.h"

#include <stdlib.h>
#include <string.h>

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

static const char *const float16_extension = "VK_KHR_shader_float16_int8";
static const char *const statistics_extension = "VK_KHR_pipeline_executable_properties";
static const char *const subgroup_size_extension = "VK_EXT_subgroup_size_control";

// Whether pipelines may ask for full subgroups of the device's own size.
static int query_subgroup_size(void *physical, uint32_t size) {
	if (!has_extension(physical, subgroup_size_extension)) return 0;
	PropertiesSubgroupSize sizes = {.type = STYPE_PROPERTIES_SUBGROUP_SIZE};
	Properties2 properties = {.type = STYPE_PROPERTIES_2, .next = &sizes};
	vk.GetPhysicalDeviceProperties2(physical, &properties);
	FeaturesSubgroupSize subgroup = {.type = STYPE_FEATURES_SUBGROUP_SIZE};
	Features2 features = {.type = STYPE_FEATURES_2, .next = &subgroup};
	vk.GetPhysicalDeviceFeatures2(physical, &features);
	return subgroup.control && subgroup.full && (sizes.required_stages & STAGE_COMPUTE) && sizes.min <= size && size <= sizes.max;
}

// How many cores the device has, which only extensions of vendors tell.
static uint32_t query_cores(void *physical) {
	PropertiesSMBuiltins nvidia = {.type = STYPE_PROPERTIES_SM_BUILTINS};
	PropertiesShaderCore2 amd = {.type = STYPE_PROPERTIES_SHADER_CORE_2};
	Properties2 properties = {.type = STYPE_PROPERTIES_2};
	if (has_extension(physical, "VK_NV_shader_sm_builtins")) properties.next = &nvidia;
	else if (has_extension(physical, "VK_AMD_shader_core_properties2")) properties.next = &amd;
	else return 0;
	vk.GetPhysicalDeviceProperties2(physical, &properties);
	return nvidia.cores + amd.active_compute_units;
}

static const char *const matrix_extensions[] = {"VK_KHR_cooperative_matrix", "VK_KHR_vulkan_memory_model"};
static const char *const bfloat16_extension = "VK_KHR_shader_bfloat16";

// Lists the products of 16-bit floats with f32 sums. SPIR-V that uses them has Vulkan's memory model. Where that is on, atomics of
// other kernels, which are of device scope, need a feature too (VUID-RuntimeSpirv-vulkanMemoryModel-06265).
static void query_matrices(void *physical, lemnos_caps *caps) {
	uint32_t count = 0;
	if (!vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR || !has_extension(physical, matrix_extensions[0]) ||
		!has_extension(physical, matrix_extensions[1])) return;
	FeaturesMemoryModel memory = {.type = STYPE_FEATURES_MEMORY_MODEL};
	FeaturesCooperativeMatrix matrix = {.type = STYPE_FEATURES_COOPERATIVE_MATRIX, .next = &memory};
	FeaturesBfloat16 bfloat16 = {.type = STYPE_FEATURES_BFLOAT16, .next = &matrix};
	int has_bfloat16 = has_extension(physical, bfloat16_extension);
	Features2 features = {.type = STYPE_FEATURES_2, .next = has_bfloat16 ? (void *)&bfloat16 : (void *)&matrix};
	vk.GetPhysicalDeviceFeatures2(physical, &features);
	if (!matrix.matrix || !memory.model || !memory.device_scope) return;
	if (vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, NULL) < 0 || count == 0) return;
	CooperativeMatrix *list = calloc(count, sizeof *list);
	if (!list) return;
	for (uint32_t i = 0; i < count; i++) list[i].type = STYPE_COOPERATIVE_MATRIX;
	if (vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, list) < 0) count = 0;
	for (uint32_t i = 0; i < count && caps->matrices < LEMNOS_MATRICES; i++) {
		const CooperativeMatrix *x = &list[i];
		uint32_t bf = x->a == COMPONENT_BFLOAT16;
		if (x->scope != SCOPE_SUBGROUP || x->a != x->b || x->c != COMPONENT_FLOAT32 || x->result != COMPONENT_FLOAT32) continue;
		if (bf ? !bfloat16.matrix : x->a != COMPONENT_FLOAT16 || !caps->float16) continue;
		caps->matrix[caps->matrices++] = (lemnos_matrix){x->m, x->n, x->k, bf};
		caps->bfloat16_matrices |= bf;
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
	PropertiesMaintenance4 maintenance4 = {.type = STYPE_PROPERTIES_MAINTENANCE_4};
	if (has_extension(physical, "VK_KHR_driver_properties")) maintenance3.next = &driver;
	if (has_extension(physical, "VK_KHR_maintenance4")) {
		maintenance4.next = maintenance3.next;
		maintenance3.next = &maintenance4;
	}
	vk.GetPhysicalDeviceProperties2(physical, &properties);
	caps->subgroup_size = subgroup.size;
	caps->subgroup_stages = subgroup.stages;
	caps->subgroup_operations = subgroup.operations;
	caps->max_allocation = maintenance3.max_allocation;
	caps->max_buffer = maintenance4.max_buffer;
	caps->cores = query_cores(physical);
	caps->require_subgroup = query_subgroup_size(physical, subgroup.size);
	memcpy(caps->driver_name, driver.name, sizeof driver.name);
	memcpy(caps->driver_info, driver.info, sizeof driver.info);

	FeaturesFloat16Int8 arithmetic16 = {.type = STYPE_FEATURES_FLOAT16_INT8};
	Features16BitStorage storage16 = {.type = STYPE_FEATURES_16BIT_STORAGE};
	Features2 features = {.type = STYPE_FEATURES_2, .next = &storage16};
	FeaturesPipelineExecutableProperties executables = {.type = STYPE_FEATURES_PIPELINE_EXECUTABLE_PROPERTIES};
	if (has_extension(physical, float16_extension)) storage16.next = &arithmetic16;
	if (vk.GetPipelineExecutableStatisticsKHR && has_extension(physical, statistics_extension)) {
		executables.next = storage16.next;
		storage16.next = &executables;
	}
	vk.GetPhysicalDeviceFeatures2(physical, &features);
	caps->float64 = features.features[FEATURE_FLOAT64];
	caps->int64 = features.features[FEATURE_INT64];
	caps->storage16 = storage16.buffer;
	caps->float16 = arithmetic16.float16;
	caps->statistics = executables.info;
	query_matrices(physical, caps);
}

// lemnos_create_device makes a device with one queue and enables what caps reports.
int32_t lemnos_create_device(void *physical, const lemnos_caps *caps, void **device) {
	FeaturesFloat16Int8 arithmetic16 = {.type = STYPE_FEATURES_FLOAT16_INT8, .float16 = caps->float16};
	Features16BitStorage storage16 = {.type = STYPE_FEATURES_16BIT_STORAGE, .buffer = caps->storage16};
	Features2 features = {.type = STYPE_FEATURES_2, .next = &storage16};
	features.features[FEATURE_FLOAT64] = caps->float64;
	features.features[FEATURE_INT64] = caps->int64;
	FeaturesSubgroupSize subgroup = {.type = STYPE_FEATURES_SUBGROUP_SIZE, .next = &storage16, .control = 1, .full = 1};
	FeaturesPipelineExecutableProperties executables = {.type = STYPE_FEATURES_PIPELINE_EXECUTABLE_PROPERTIES, .info = 1};
	FeaturesMemoryModel memory = {.type = STYPE_FEATURES_MEMORY_MODEL, .model = 1, .device_scope = 1};
	FeaturesCooperativeMatrix matrix = {.type = STYPE_FEATURES_COOPERATIVE_MATRIX, .next = &memory, .matrix = 1};
	FeaturesBfloat16 bfloat16 = {.type = STYPE_FEATURES_BFLOAT16, .storage = 1, .matrix = 1};
	const char *extensions[8];
	uint32_t count = 0;
	if (caps->float16) {
		extensions[count++] = float16_extension;
		storage16.next = &arithmetic16;
	}
	if (caps->require_subgroup) {
		extensions[count++] = subgroup_size_extension;
		features.next = &subgroup;
	}
	if (caps->statistics) {
		extensions[count++] = statistics_extension;
		executables.next = storage16.next;
		storage16.next = &executables;
	}
	if (caps->matrices) {
		extensions[count++] = matrix_extensions[0];
		extensions[count++] = matrix_extensions[1];
		memory.next = storage16.next;
		storage16.next = &matrix;
	}
	if (caps->bfloat16_matrices) {
		extensions[count++] = bfloat16_extension;
		bfloat16.next = storage16.next;
		storage16.next = &bfloat16;
	}
	static const char *const portability = "VK_KHR_portability_subset"; // must be enabled where it exists
	if (has_extension(physical, portability)) extensions[count++] = portability;
	float priority = 1;
	DeviceQueueCreateInfo queue = {
		.type = STYPE_DEVICE_QUEUE_CREATE_INFO, .family = caps->queue_family, .count = 1, .priorities = &priority,
	};
	DeviceCreateInfo info = {
		.type = STYPE_DEVICE_CREATE_INFO, .next = &features, .queue_count = 1, .queues = &queue,
		.extension_count = count, .extensions = extensions,
	};
	return vk.CreateDevice(physical, &info, NULL, device);
}
