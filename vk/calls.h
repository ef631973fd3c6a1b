// The functions of Vulkan that C calls here.
#ifndef LEMNOS_VK_CALLS_H
#define LEMNOS_VK_CALLS_H

#include "registry.h"

// Names that no other package's C code has.
#define vk lemnos_calls
#define has_extension lemnos_has_extension

extern struct calls {
	int32_t (VKAPI *EnumerateInstanceVersion)(uint32_t *);
	int32_t (VKAPI *EnumerateInstanceExtensionProperties)(const char *, uint32_t *, Extension *);
	int32_t (VKAPI *CreateInstance)(const InstanceCreateInfo *, const void *, void **);

	int32_t (VKAPI *EnumerateDeviceExtensionProperties)(void *, const char *, uint32_t *, Extension *);
	void (VKAPI *GetPhysicalDeviceQueueFamilyProperties)(void *, uint32_t *, QueueFamily *);
	void (VKAPI *GetPhysicalDeviceFeatures2)(void *, Features2 *);
	void (VKAPI *GetPhysicalDeviceProperties2)(void *, Properties2 *);
	int32_t (VKAPI *CreateDevice)(void *, const DeviceCreateInfo *, const void *, void **);
	int32_t (VKAPI *QueueSubmit)(void *, uint32_t, const SubmitInfo *, uint64_t);
	int32_t (VKAPI *ResetFences)(void *, uint32_t, const uint64_t *);
	int32_t (VKAPI *WaitForFences)(void *, uint32_t, const uint64_t *, uint32_t, uint64_t);
	int32_t (VKAPI *GetFenceStatus)(void *, uint64_t);
	void (VKAPI *CmdPipelineBarrier)(void *, uint32_t, uint32_t, uint32_t, uint32_t, const GlobalBarrier *,
		uint32_t, const void *, uint32_t, const void *);
	void (VKAPI *CmdCopyBuffer)(void *, uint64_t, uint64_t, uint32_t, const BufferCopy *);
	int32_t (VKAPI *CreateDescriptorSetLayout)(void *, const DescriptorSetLayoutCreateInfo *, const void *, uint64_t *);
	int32_t (VKAPI *CreatePipelineLayout)(void *, const PipelineLayoutCreateInfo *, const void *, uint64_t *);
	int32_t (VKAPI *CreateDescriptorPool)(void *, const DescriptorPoolCreateInfo *, const void *, uint64_t *);
	int32_t (VKAPI *AllocateDescriptorSets)(void *, const DescriptorSetAllocateInfo *, uint64_t *);
	void (VKAPI *UpdateDescriptorSets)(void *, uint32_t, const WriteDescriptorSet *, uint32_t, const void *);
	int32_t (VKAPI *CreateShaderModule)(void *, const ShaderModuleCreateInfo *, const void *, uint64_t *);
	void (VKAPI *DestroyShaderModule)(void *, uint64_t, const void *);
	int32_t (VKAPI *CreateComputePipelines)(void *, uint64_t, uint32_t, const ComputePipelineCreateInfo *, const void *, uint64_t *);

	// Of VK_KHR_cooperative_matrix; NULL where the loader is older.
	int32_t (VKAPI *GetPhysicalDeviceCooperativeMatrixPropertiesKHR)(void *, uint32_t *, CooperativeMatrix *);

	// Of VK_KHR_pipeline_executable_properties; NULL where the loader is older.
	int32_t (VKAPI *GetPipelineExecutablePropertiesKHR)(void *, const PipelineInfo *, uint32_t *, PipelineExecutableProperties *);
	int32_t (VKAPI *GetPipelineExecutableStatisticsKHR)(void *, const PipelineExecutableInfo *, uint32_t *, PipelineExecutableStatistic *);
} vk;

// Whether a device has an extension, or where physical is NULL the instance.
int has_extension(void *physical, const char *name);

#endif
