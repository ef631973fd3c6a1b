// See interpose.go for what the calls mean, interpose.c for how they work.
#ifndef LEMNOS_INTERPOSE_H
#define LEMNOS_INTERPOSE_H

#include <stdint.h>

// Kinds of objects.
enum {
	KIND_BUFFER, KIND_BUFFER_VIEW, KIND_MEMORY, KIND_SHADER_MODULE, KIND_PIPELINE, KIND_PIPELINE_CACHE, KIND_PIPELINE_LAYOUT,
	KIND_SET_LAYOUT, KIND_DESCRIPTOR_POOL, KIND_COMMAND_POOL, KIND_FENCE, KIND_QUERY_POOL, KIND_DEVICE,
	KINDS
};

// Faults, each with the calls that it can befall.
enum { FAULT_DEVICE_MEMORY, FAULT_HOST_MEMORY, FAULT_MAP, FAULT_SUBMIT, FAULT_WAIT, FAULT_COMPILE, FAULTS };

// Whether the host sees the memory of a card.
enum { CARD_MAPPED = 1, CARD_UNMAPPED };

// Limits of a device, 0 where they are not lowered.
typedef struct {
	uint64_t allocation;               // bytes in one vkAllocateMemory
	uint64_t mapping;                  // and in one vkMapMemory
	uint32_t storage_range, alignment; // bytes of a descriptor, and what its offset is a multiple of
	uint32_t storage_buffers, texel_buffers, texels, push_bytes;
	uint32_t shared_memory, invocations, local[3], groups[3];
	uint32_t subgroup_operations; // VkSubgroupFeatureFlags: those that are left
	uint32_t subgroup_size;       // reported, whatever it is
	uint32_t gpu;                 // 1: an integrated GPU, whatever it is
	uint32_t card;                // CARD_MAPPED or CARD_UNMAPPED: a card with memory of its own, whatever it is
	uint32_t basic;               // 1: Vulkan 1.1 without any extension or feature
} interpose_limits;

void *interpose_wrap(void *get_instance_proc_addr);
int64_t interpose_live(int kind);
void interpose_inject(int fault, int64_t first, int64_t last);
void interpose_reset(void);
int64_t interpose_calls(int fault);
int64_t interpose_injected(void);
void interpose_lookup(const char *name, void **by_instance, void **by_device);
void interpose_perturb(int value);
void interpose_slow(uint64_t factor);
void interpose_prefer_numbers(int on);
int64_t interpose_reuse_devices(void);
void interpose_limit(const interpose_limits *limits);
uint32_t interpose_subgroup_size(void);
int64_t interpose_compiled_at_once(void);
void interpose_violation(char text[256]);

#endif
