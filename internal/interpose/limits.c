// Lower limits than the device's: what is reported of it, and the checks of what a program then does. The layouts
// of structs are those of the Vulkan registry on 64-bit systems, up to the last member that is looked at.
#include "limits.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
	VK_SUCCESS = 0,
	VK_ERROR_OUT_OF_DEVICE_MEMORY = -2,
	VK_ERROR_MEMORY_MAP_FAILED = -5,
	VK_ERROR_EXTENSION_NOT_PRESENT = -7,
	VK_ERROR_FEATURE_NOT_PRESENT = -8,
	VK_ERROR_UNKNOWN = -13,
	VK_VERSION_1_1 = 1u << 22 | 1u << 12,

	FEATURES_2 = 1000059000,
	FEATURES_16BIT_STORAGE = 1000083000,
	PROPERTIES_SUBGROUP = 1000094000,
	PROPERTIES_MAINTENANCE_3 = 1000168000,

	UNIFORM_TEXEL_BUFFER = 4,
	STORAGE_BUFFER = 7,
	R32G32_UINT = 101,
};

typedef struct Chain { uint32_t type; struct Chain *next; } Chain;

typedef struct {
	uint32_t api, driver, vendor, device, kind;
	char name[256], cache[16];
	_Alignas(8) uint32_t image1d; // the first of the limits
	uint32_t image2d, image3d, cube, layers, texels, uniform_range, storage_range, push_bytes, allocations, samplers;
	uint64_t granularity, sparse;
	uint32_t sets, stage_samplers, stage_uniforms, stage_storage, stage_images, stage_storage_images, stage_attachments, stage_resources;
	uint32_t set_samplers, set_uniforms, set_uniforms_dynamic, set_storage, set_storage_dynamic, set_images, set_storage_images;
	uint32_t graphics[23]; // maxDescriptorSetInputAttachments to maxFragmentCombinedOutputResources
	uint32_t shared_memory, groups[3], invocations, local[3];
	uint32_t more_graphics[14]; // subPixelPrecisionBits to viewportSubPixelBits
	uint64_t map_alignment, texel_alignment, uniform_alignment, storage_alignment;
} Properties;
_Static_assert(offsetof(Properties, shared_memory) == 296 + 216 && offsetof(Properties, storage_alignment) == 296 + 328,
	"VkPhysicalDeviceLimits");

typedef struct { Chain chain; Properties properties; } Properties2;
typedef struct { Chain chain; uint32_t size, stages, operations, quad; } Subgroup;
typedef struct { Chain chain; uint32_t descriptors; uint64_t allocation; } Maintenance3;
typedef struct { Chain chain; uint32_t features[55]; } Features2;
typedef struct { Chain chain; uint32_t features[4]; } Storage16;

typedef struct {
	Chain chain; uint32_t flags, queue_count; const void *queues; uint32_t layer_count; const void *layers;
	uint32_t extension_count; const char *const *extensions; const uint32_t *features;
} DeviceInfo;
typedef struct {
	uint32_t type_count; struct { uint32_t flags, heap; } types[32];
	uint32_t heap_count; struct { uint64_t size; uint32_t flags; } heaps[16];
} MemoryProperties;
typedef struct { uint64_t size, alignment; uint32_t types; } Requirements;
typedef struct { Chain chain; uint64_t size; uint32_t memory_type; } MemoryInfo;
typedef struct { uint32_t binding, type, count, stages; const void *samplers; } Binding;
typedef struct { Chain chain; uint32_t flags, count; const Binding *bindings; } SetLayoutInfo;
typedef struct { uint32_t stages, offset, size; } Range;
typedef struct { Chain chain; uint32_t flags, set_count; const void *sets; uint32_t count; const Range *ranges; } PipelineLayoutInfo;
typedef struct { Chain chain; uint32_t flags; uint64_t buffer; uint32_t format; uint64_t offset, range; } BufferViewInfo;
typedef struct { uint64_t buffer, offset, range; } BufferInfo;
typedef struct {
	Chain chain; uint64_t set; uint32_t binding, element, count, type;
	const void *images; const BufferInfo *buffers; const void *views;
} Write;

static interpose_limits limits;
static char violation[256];

void interpose_limit(const interpose_limits *l) { limits = *l; }

// interpose_violation gives the first violation, or "", and forgets it.
void interpose_violation(char text[256]) {
	memcpy(text, violation, sizeof violation);
	violation[0] = 0;
}

// A program that asks what the device allows never comes here.
static int32_t refuse(int32_t result, const char *format, ...) {
	if (!violation[0]) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(violation, sizeof violation, format, arguments);
		va_end(arguments);
	}
	return result;
}

static int above(uint64_t value, uint64_t limit) { return limit && value > limit; }

static void lower(uint32_t *value, uint32_t limit) {
	if (above(*value, limit)) *value = limit;
}

void limits_lower_properties(void *properties) {
	Properties *p = properties;
	if (limits.gpu) p->kind = 1; // VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU
	if (limits.card) p->kind = 2; // VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
	if (limits.basic) p->api = VK_VERSION_1_1;
	lower(&p->texels, limits.texels);
	lower(&p->storage_range, limits.storage_range);
	lower(&p->push_bytes, limits.push_bytes);
	lower(&p->stage_storage, limits.storage_buffers);
	lower(&p->set_storage, limits.storage_buffers);
	lower(&p->stage_images, limits.texel_buffers);
	lower(&p->set_images, limits.texel_buffers);
	lower(&p->shared_memory, limits.shared_memory);
	lower(&p->invocations, limits.invocations);
	for (int i = 0; i < 3; i++) {
		lower(&p->local[i], limits.local[i]);
		lower(&p->groups[i], limits.groups[i]);
	}
	if (p->storage_alignment < limits.alignment) p->storage_alignment = limits.alignment;
	if (p->texel_alignment < limits.alignment) p->texel_alignment = limits.alignment;
}

void limits_lower_properties2(void *properties2) {
	Properties2 *p = properties2;
	limits_lower_properties(&p->properties);
	for (Chain *c = p->chain.next; c; c = c->next) {
		if (c->type == PROPERTIES_SUBGROUP) {
			Subgroup *s = (Subgroup *)c;
			if (limits.subgroup_operations) s->operations &= limits.subgroup_operations;
			if (limits.subgroup_size) s->size = limits.subgroup_size;
		}
		if (c->type == PROPERTIES_MAINTENANCE_3 && above(((Maintenance3 *)c)->allocation, limits.allocation)) {
			((Maintenance3 *)c)->allocation = limits.allocation;
		}
	}
}

// robustBufferAccess, which every device has, is the first of the features.
void limits_lower_features2(void *features2) {
	if (!limits.basic) return;
	memset(&((Features2 *)features2)->features[1], 0, 54 * sizeof(uint32_t));
	for (Chain *c = ((Chain *)features2)->next; c; c = c->next) {
		if (c->type == FEATURES_16BIT_STORAGE) memset(((Storage16 *)c)->features, 0, sizeof ((Storage16 *)c)->features);
		else refuse(0, "vkGetPhysicalDeviceFeatures2: struct %u, of an extension that the device does not have", c->type);
	}
}

int limits_hide_extensions(void) { return limits.basic; }

// A card has a heap of its own, which the host may see but not cache, and another in the host's memory. Of a device with one type
// of memory, as software devices are, both are made out of that.
static int two_heaps;

void limits_lower_memory_properties(void *properties) {
	enum { DEVICE_LOCAL = 1, VISIBLE = 2, COHERENT = 4, CACHED = 8 };
	MemoryProperties *p = properties;
	two_heaps = limits.card && p->type_count == 1;
	if (!two_heaps) return;
	p->type_count = p->heap_count = 2;
	p->types[0].flags = limits.card == CARD_MAPPED ? DEVICE_LOCAL | VISIBLE | COHERENT : DEVICE_LOCAL;
	p->types[1].flags = VISIBLE | COHERENT | CACHED;
	p->types[1].heap = 1;
	p->heaps[1] = p->heaps[0];
	p->heaps[1].flags = 0;
}

void limits_lower_requirements(void *requirements) {
	if (two_heaps) ((Requirements *)requirements)->types = 3;
}

int32_t limits_check_nothing(const void *info) {
	(void)info;
	return VK_SUCCESS;
}

static int any(const uint32_t *features, int first, int count) {
	int found = 0;
	for (int i = first; features && i < count; i++) found |= features[i] != 0;
	return found;
}

int32_t limits_check_device(const void *info) {
	const DeviceInfo *d = info;
	if (!limits.basic) return VK_SUCCESS;
	if (d->extension_count) return refuse(VK_ERROR_EXTENSION_NOT_PRESENT, "vkCreateDevice: extension %s", d->extensions[0]);
	int features = any(d->features, 1, 55);
	for (const Chain *c = d->chain.next; c; c = c->next) {
		features |= c->type == FEATURES_2 ? any(((const Features2 *)c)->features, 1, 55)
			: c->type == FEATURES_16BIT_STORAGE ? any(((const Storage16 *)c)->features, 0, 4) : 1;
	}
	return features ? refuse(VK_ERROR_FEATURE_NOT_PRESENT, "vkCreateDevice: a feature that the device does not have") : VK_SUCCESS;
}

// No violation: a device may lack the memory for less, too. Both heaps of a card are one.
int32_t limits_check_memory(const void *info) {
	if (two_heaps) ((MemoryInfo *)info)->memory_type = 0;
	return above(((const MemoryInfo *)info)->size, limits.allocation) ? VK_ERROR_OUT_OF_DEVICE_MEMORY : VK_SUCCESS;
}

// Nor here: the addresses of the process, or the window to a card's memory, may be used up.
int32_t limits_check_mapping(uint64_t size) {
	return above(size, limits.mapping) ? VK_ERROR_MEMORY_MAP_FAILED : VK_SUCCESS;
}

int32_t limits_check_set_layout(const void *info) {
	const SetLayoutInfo *s = info;
	uint32_t storage = 0, texel = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->bindings[i].type == STORAGE_BUFFER) storage += s->bindings[i].count;
		if (s->bindings[i].type == UNIFORM_TEXEL_BUFFER) texel += s->bindings[i].count;
	}
	if (!above(storage, limits.storage_buffers) && !above(texel, limits.texel_buffers)) return VK_SUCCESS;
	return refuse(VK_ERROR_UNKNOWN, "vkCreateDescriptorSetLayout: %u storage buffers, %u texel buffers", storage, texel);
}

int32_t limits_check_pipeline_layout(const void *info) {
	const PipelineLayoutInfo *p = info;
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t end = p->ranges[i].offset + p->ranges[i].size;
		if (above(end, limits.push_bytes)) return refuse(VK_ERROR_UNKNOWN, "vkCreatePipelineLayout: %u bytes of push constants", end);
	}
	return VK_SUCCESS;
}

static int misaligned(uint64_t offset) { return limits.alignment && offset % limits.alignment != 0; }

int32_t limits_check_buffer_view(const void *info) {
	const BufferViewInfo *v = info;
	if (!misaligned(v->offset) && !above(v->range / (v->format == R32G32_UINT ? 8 : 16), limits.texels)) return VK_SUCCESS;
	return refuse(VK_ERROR_UNKNOWN, "vkCreateBufferView: %llu bytes at offset %llu, format %u",
		(unsigned long long)v->range, (unsigned long long)v->offset, v->format);
}

void limits_check_writes(uint32_t count, const void *writes) {
	const Write *w = writes;
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; w[i].type == STORAGE_BUFFER && j < w[i].count; j++) {
			const BufferInfo *b = &w[i].buffers[j];
			if (!misaligned(b->offset) && !above(b->range, limits.storage_range)) continue;
			refuse(0, "vkUpdateDescriptorSets: %llu bytes at offset %llu", (unsigned long long)b->range, (unsigned long long)b->offset);
		}
	}
}

// SPIR-V's capabilities of subgroups, from GroupNonUniform on, are in the order of Vulkan's bits.
int32_t limits_check_capability(uint32_t capability) {
	uint32_t subgroup = capability - 61;
	int operation = limits.subgroup_operations && subgroup < 8 && !(limits.subgroup_operations >> subgroup & 1);
	int feature = limits.basic && ((capability >= 9 && capability <= 11) || capability == 22 || capability == 39 || capability == 4433);
	return operation || feature ? refuse(VK_ERROR_UNKNOWN, "vkCreateComputePipelines: the SPIR-V capability %u", capability) : VK_SUCCESS;
}

int32_t limits_check_workgroup(const uint32_t local[3], uint64_t shared_memory) {
	int wide = above((uint64_t)local[0] * local[1] * local[2], limits.invocations);
	for (int i = 0; i < 3; i++) wide |= above(local[i], limits.local[i]);
	if (!wide && !above(shared_memory, limits.shared_memory)) return VK_SUCCESS;
	return refuse(VK_ERROR_UNKNOWN, "vkCreateComputePipelines: a workgroup of %u x %u x %u with %llu bytes of shared memory",
		local[0], local[1], local[2], (unsigned long long)shared_memory);
}

void limits_check_groups(uint32_t x, uint32_t y, uint32_t z) {
	if (!above(x, limits.groups[0]) && !above(y, limits.groups[1]) && !above(z, limits.groups[2])) return;
	refuse(0, "vkCmdDispatch: %u x %u x %u workgroups", x, y, z);
}
