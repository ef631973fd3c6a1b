// What limits.c, spirv.c, nan.c and reuse.c offer interpose.c and each other. The checks return VK_SUCCESS or the error to refuse a call with.
#ifndef LEMNOS_INTERPOSE_LIMITS_H
#define LEMNOS_INTERPOSE_LIMITS_H

#include "interpose.h"

#include <stddef.h>

typedef struct { uint32_t type; const void *next; uint32_t flags; size_t bytes; const uint32_t *code; } ModuleInfo;

void limits_lower_properties(void *properties);
void limits_lower_properties2(void *properties2);
void limits_lower_features2(void *features2);
int limits_hide_extensions(void);
void limits_lower_memory_properties(void *properties);
void limits_lower_requirements(void *requirements);

int32_t limits_check_nothing(const void *info);
int32_t limits_check_device(const void *info);
int32_t limits_check_memory(const void *info);
int32_t limits_check_mapping(uint64_t size);
int32_t limits_check_set_layout(const void *info);
int32_t limits_check_pipeline_layout(const void *info);
int32_t limits_check_buffer_view(const void *info);
void limits_check_writes(uint32_t count, const void *writes);
void limits_keep_module(uint64_t handle, const ModuleInfo *module);
void limits_forget_module(uint64_t handle);
int32_t limits_check_pipelines(uint32_t count, const void *infos);
int32_t limits_check_capability(uint32_t capability);
int32_t limits_check_workgroup(const uint32_t local[3], uint64_t shared_memory);
void limits_check_groups(uint32_t x, uint32_t y, uint32_t z);

uint32_t *nan_rewrite(const uint32_t *code, size_t *bytes);

void *reuse_take(void *physical, const void *info);
void reuse_made(void *physical, const void *info, void *device);
int reuse_keep(void *device);
void reuse_forget(void *device);

#endif
