// What limits.c and spirv.c offer interpose.c and each other. The checks return VK_SUCCESS or the error to refuse a call with.
#ifndef LEMNOS_INTERPOSE_LIMITS_H
#define LEMNOS_INTERPOSE_LIMITS_H

#include "interpose.h"

void limits_lower_properties(void *properties);
void limits_lower_properties2(void *properties2);
void limits_lower_features2(void *features2);
int limits_hide_extensions(void);

int32_t limits_check_nothing(const void *info);
int32_t limits_check_device(const void *info);
int32_t limits_check_memory(const void *info);
int32_t limits_check_mapping(uint64_t size);
int32_t limits_check_set_layout(const void *info);
int32_t limits_check_pipeline_layout(const void *info);
int32_t limits_check_buffer_view(const void *info);
void limits_check_writes(uint32_t count, const void *writes);
void limits_keep_module(uint64_t handle, const void *info);
void limits_forget_module(uint64_t handle);
int32_t limits_check_pipelines(uint32_t count, const void *infos);
int32_t limits_check_capability(uint32_t capability);
int32_t limits_check_workgroup(const uint32_t local[3], uint64_t shared_memory);
void limits_check_groups(uint32_t x, uint32_t y, uint32_t z);

#endif
