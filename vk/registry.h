// What shim.c uses of Vulkan's declarations.
//
// They follow the Vulkan registry, reduced to what is used; no Vulkan header is needed to build. Handles
// that Vulkan calls dispatchable are void *, the others uint64_t.
#ifndef LEMNOS_VK_REGISTRY_H
#define LEMNOS_VK_REGISTRY_H

#include "shim.h"

#ifdef _WIN32
#define VKAPI __stdcall
#else
#define VKAPI
#endif

enum {
	VK_SUCCESS = 0,
	VK_ERROR_OUT_OF_HOST_MEMORY = -1,
	VK_VERSION_1_0 = 1u << 22,
	VK_VERSION_1_1 = VK_VERSION_1_0 | 1u << 12,

	STYPE_APPLICATION_INFO = 0,
	STYPE_INSTANCE_CREATE_INFO = 1,
	STYPE_DEVICE_QUEUE_CREATE_INFO = 2,
	STYPE_DEVICE_CREATE_INFO = 3,
	STYPE_SUBMIT_INFO = 4,
	STYPE_SHADER_MODULE_CREATE_INFO = 16,
	STYPE_PIPELINE_SHADER_STAGE_CREATE_INFO = 18,
	STYPE_COMPUTE_PIPELINE_CREATE_INFO = 29,
	STYPE_PIPELINE_LAYOUT_CREATE_INFO = 30,
	STYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO = 32,
	STYPE_DESCRIPTOR_POOL_CREATE_INFO = 33,
	STYPE_DESCRIPTOR_SET_ALLOCATE_INFO = 34,
	STYPE_WRITE_DESCRIPTOR_SET = 35,
	STYPE_MEMORY_BARRIER = 46,
	STYPE_FEATURES_2 = 1000059000,
	STYPE_PROPERTIES_2 = 1000059001,
	STYPE_FEATURES_FLOAT16_INT8 = 1000082000,
	STYPE_FEATURES_16BIT_STORAGE = 1000083000,
	STYPE_PROPERTIES_SUBGROUP = 1000094000,
	STYPE_PROPERTIES_SM_BUILTINS = 1000154001,
	STYPE_PROPERTIES_MAINTENANCE_3 = 1000168000,
	STYPE_PROPERTIES_DRIVER = 1000196000,
	STYPE_PROPERTIES_SUBGROUP_SIZE = 1000225000,
	STYPE_REQUIRED_SUBGROUP_SIZE = 1000225001,
	STYPE_FEATURES_SUBGROUP_SIZE = 1000225002,
	STYPE_PROPERTIES_SHADER_CORE_2 = 1000227000,
	STYPE_FEATURES_PIPELINE_EXECUTABLE_PROPERTIES = 1000269000,
	STYPE_PIPELINE_INFO = 1000269001,
	STYPE_PIPELINE_EXECUTABLE_PROPERTIES = 1000269002,
	STYPE_PIPELINE_EXECUTABLE_INFO = 1000269003,
	STYPE_PIPELINE_EXECUTABLE_STATISTIC = 1000269004,
	STYPE_FEATURES_BFLOAT16 = 1000141000,
	STYPE_FEATURES_MEMORY_MODEL = 1000211000,
	STYPE_PROPERTIES_MAINTENANCE_4 = 1000413001,
	STYPE_FEATURES_COOPERATIVE_MATRIX = 1000506000,
	STYPE_COOPERATIVE_MATRIX = 1000506001,

	INSTANCE_ENUMERATE_PORTABILITY = 1,
	QUEUE_GRAPHICS = 1,
	QUEUE_COMPUTE = 2,
	STAGE_COMPUTE = 0x20,
	REQUIRE_FULL_SUBGROUPS = 2,
	DESCRIPTOR_UNIFORM_TEXEL_BUFFER = 4,
	DESCRIPTOR_STORAGE_BUFFER = 7,
	PIPELINE_CAPTURE_STATISTICS = 0x40,

	COMPONENT_FLOAT16 = 0,
	COMPONENT_FLOAT32 = 1,
	COMPONENT_BFLOAT16 = 1000141000,
	SCOPE_SUBGROUP = 3,

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
typedef struct { uint32_t type; void *next; uint32_t control, full; } FeaturesSubgroupSize;
typedef struct { uint32_t type; void *next; uint32_t info; } FeaturesPipelineExecutableProperties;
typedef struct { uint32_t type; void *next; uint32_t model, device_scope, chains; } FeaturesMemoryModel;
typedef struct { uint32_t type; void *next; uint32_t matrix, robust; } FeaturesCooperativeMatrix;
typedef struct { uint32_t type; void *next; uint32_t storage, dot, matrix; } FeaturesBfloat16;

typedef struct { uint32_t type; void *next; uint64_t properties[PROPERTIES_WORDS]; } Properties2;
typedef struct { uint32_t type; void *next; uint32_t size, stages, operations, quad; } PropertiesSubgroup;
typedef struct { uint32_t type; void *next; uint32_t min, max, per_workgroup, required_stages; } PropertiesSubgroupSize;
typedef struct { uint32_t type; void *next; uint32_t cores, subgroups_per_core; } PropertiesSMBuiltins;
typedef struct { uint32_t type; void *next; uint32_t features, active_compute_units; } PropertiesShaderCore2;
typedef struct { uint32_t type; void *next; uint32_t max_descriptors; uint64_t max_allocation; } PropertiesMaintenance3;
typedef struct { uint32_t type; void *next; uint32_t id; char name[256], info[256]; uint8_t conformance[4]; } PropertiesDriver;
typedef struct { uint32_t type; void *next; uint64_t max_buffer; } PropertiesMaintenance4;
typedef struct {
	uint32_t type; void *next;
	uint32_t m, n, k, a, b, c, result, saturating, scope;
} CooperativeMatrix;

typedef struct {
	uint32_t type; const void *next;
	const char *name; uint32_t version; const char *engine; uint32_t engine_version, api;
} ApplicationInfo;
typedef struct {
	uint32_t type; const void *next; uint32_t flags; const ApplicationInfo *application;
	uint32_t layer_count; const char *const *layers; uint32_t extension_count; const char *const *extensions;
} InstanceCreateInfo;
typedef struct { uint32_t type; const void *next; uint32_t flags, family, count; const float *priorities; } DeviceQueueCreateInfo;
typedef struct {
	uint32_t type; const void *next; uint32_t flags, queue_count; const DeviceQueueCreateInfo *queues;
	uint32_t layer_count; const char *const *layers; uint32_t extension_count; const char *const *extensions;
	const void *features;
} DeviceCreateInfo;

typedef struct {
	uint32_t type; const void *next;
	uint32_t wait_count; const uint64_t *waits; const uint32_t *wait_stages;
	uint32_t command_count; void *const *commands;
	uint32_t signal_count; const uint64_t *signals;
} SubmitInfo;
typedef struct { uint32_t type; const void *next; uint32_t src_access, dst_access; } GlobalBarrier;
typedef struct { uint64_t src_offset, dst_offset, size; } BufferCopy;
typedef struct { uint32_t type; const void *next; uint32_t flags, count; const lemnos_binding *bindings; } DescriptorSetLayoutCreateInfo;
typedef struct { uint32_t stages, offset, size; } PushConstantRange;
typedef struct {
	uint32_t type; const void *next;
	uint32_t flags, set_count; const uint64_t *sets; uint32_t range_count; const PushConstantRange *ranges;
} PipelineLayoutCreateInfo;
typedef struct { uint32_t type, count; } DescriptorPoolSize;
typedef struct { uint32_t type; const void *next; uint32_t flags, sets, count; const DescriptorPoolSize *sizes; } DescriptorPoolCreateInfo;
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
typedef struct { uint32_t type; void *next; uint32_t size; } RequiredSubgroupSize;
typedef struct {
	uint32_t type; const void *next;
	uint32_t flags, stage; uint64_t module; const char *name; const SpecializationInfo *specialization;
} PipelineShaderStageCreateInfo;
typedef struct {
	uint32_t type; const void *next;
	uint32_t flags; PipelineShaderStageCreateInfo stage; uint64_t layout, base; int32_t base_index;
} ComputePipelineCreateInfo;

typedef struct { uint32_t type; const void *next; uint64_t pipeline; } PipelineInfo;
typedef struct { uint32_t type; const void *next; uint64_t pipeline; uint32_t index; } PipelineExecutableInfo;
typedef struct {
	uint32_t type; void *next;
	uint32_t stages; char name[256], description[256]; uint32_t subgroup_size;
} PipelineExecutableProperties;
typedef struct {
	uint32_t type; void *next;
	char name[256], description[256]; uint32_t format;
	union { uint32_t b32; int64_t i64; uint64_t u64; double f64; } value; // by format, in this order
} PipelineExecutableStatistic;

#endif
