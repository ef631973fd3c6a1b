// The calls that the Go binding cannot make safely or does not know. See shim.c.
#ifndef LEMNOS_VK_SHIM_H
#define LEMNOS_VK_SHIM_H

#include <stddef.h>
#include <stdint.h>

// A product that a subgroup computes at once: (m, n) f32 += (m, k) by (k, n), of f16 or where bfloat is 1 of bf16.
typedef struct { uint32_t m, n, k, bfloat; } lemnos_matrix;
enum { LEMNOS_MATRICES = 32 };

// Facts about a physical device that need vkGetPhysicalDevice{Features,Properties}2
// or an array of structs. Filled by lemnos_query.
typedef struct {
	uint32_t subgroup_size;
	uint32_t subgroup_stages;      // VkShaderStageFlags
	uint32_t subgroup_operations;  // VkSubgroupFeatureFlags
	uint32_t require_subgroup;     // 0 or 1: a pipeline may ask for full subgroups of subgroup_size
	uint64_t max_allocation;       // bytes in one vkAllocateMemory
	uint64_t max_buffer;           // bytes in one vkCreateBuffer; 0 where the driver cannot say
	uint32_t cores;                // multiprocessors or compute units; 0 where the driver does not say
	uint32_t float64, int64;       // features; 0 or 1
	uint32_t storage16, float16;   // features; 0 or 1
	uint32_t matrices;             // how many of the following there are: 0 also where no shader may use them
	lemnos_matrix matrix[LEMNOS_MATRICES];
	uint32_t bfloat16_matrices;    // 0 or 1: some are of bf16
	uint32_t statistics;           // 1: the compiler's statistics can be had
	uint32_t queue_family;         // the one to use; UINT32_MAX: no compute queue
	uint32_t timestamp_bits;       // valid bits of that family's timestamps
	char driver_name[256];         // empty where the driver cannot say
	char driver_info[256];
} lemnos_caps;

// A VkDescriptorSetLayoutBinding.
typedef struct {
	uint32_t binding, type, count, stages;
	const void *samplers; // NULL
} lemnos_binding;

// What to point a binding at: a range of a buffer, or for a texel buffer a view.
typedef struct {
	uint32_t binding, type; // VkDescriptorType
	uint64_t buffer, offset, size, view;
} lemnos_descriptor;

// One of the programs that a pipeline was compiled to, and a figure about one.
typedef struct {
	char name[256], description[256];
	uint32_t subgroup_size;
} lemnos_executable;
typedef struct {
	char name[256], description[256];
	double value;
} lemnos_statistic;

void *lemnos_open_library(const char *name);
const char *lemnos_load(void *get_instance_proc_addr);
const char *lemnos_load_instance(void *instance);
uint32_t lemnos_instance_version(void);
int32_t lemnos_create_instance(void **instance);
void lemnos_query(void *physical, lemnos_caps *caps);
int32_t lemnos_create_device(void *physical, const lemnos_caps *caps, void **device);

int32_t lemnos_submit(void *device, void *queue, uint64_t fence, uint32_t count, void **commands);
int32_t lemnos_wait(void *device, uint64_t fence, uint64_t timeout_ns);
int32_t lemnos_fence_status(void *device, uint64_t fence);

void lemnos_barrier(void *command, uint32_t src_stages, uint32_t dst_stages, uint32_t src_access, uint32_t dst_access);
void lemnos_copy(void *command, uint64_t src, uint64_t dst, uint64_t src_offset, uint64_t dst_offset, uint64_t size);
int32_t lemnos_set_layout(void *device, uint32_t count, const lemnos_binding *bindings, uint64_t *layout);
int32_t lemnos_pipeline_layout(void *device, uint64_t set_layout, uint32_t push_bytes, uint64_t *layout);
int32_t lemnos_descriptor_pool(void *device, uint32_t sets, uint32_t storage, uint32_t texel, uint64_t *pool);
int32_t lemnos_descriptor_set(void *device, uint64_t pool, uint64_t layout, uint32_t count,
	const lemnos_descriptor *descriptors, uint64_t *set);
int32_t lemnos_pipeline(void *device, uint64_t cache, uint64_t layout, const uint32_t *code, size_t code_bytes,
	uint32_t spec_count, const uint32_t *spec_ids, const uint32_t *spec_values, uint32_t subgroup_size, int statistics,
	uint64_t *pipeline);
int32_t lemnos_executables(void *device, uint64_t pipeline, uint32_t *count, lemnos_executable *list);
int32_t lemnos_statistics(void *device, uint64_t pipeline, uint32_t executable, uint32_t *count, lemnos_statistic *list);

#endif
