package vk

import (
	"fmt"
	"maps"
	"slices"

	vulkan "github.com/vulkan-go/vulkan"
)

// Executable is a program that the driver's compiler made of a kernel. Most drivers make one of each kernel,
// some one for each subgroup size that it may run with.
type Executable struct {
	Name, Description string
	SubgroupSize      uint32 // invocations that run in lockstep; 0: not fixed
	Statistics        []Statistic
}

// Statistic is a figure about an Executable, by the driver's own name for it: "VGPRs", "Spill count".
type Statistic struct {
	Name, Description string
	Value             float64
}

// Kernels lists the kernels made so far, by name and constants.
func (d *Device) Kernels() []*Kernel {
	var list []*Kernel
	for _, key := range slices.Sorted(maps.Keys(d.kernels)) {
		list = append(list, d.kernels[key])
	}
	return list
}

// Executables returns what the driver tells of the kernel, which it compiles if it is not compiled yet, through VK_KHR_pipeline_executable_properties.
// It is an error on a device that was not opened with Options.CompileOnly, and where the driver tells nothing.
func (k *Kernel) Executables() ([]Executable, error) {
	d := k.device
	if err := d.usable(); err != nil {
		return nil, err
	}
	if d.physical.facts.statistics == 0 {
		return nil, fmt.Errorf("vk: kernel %s: no statistics: %q has no VK_KHR_pipeline_executable_properties, or was not opened with CompileOnly", k.name, d.physical.info.Name)
	}
	if err := k.Compile(); err != nil {
		return nil, err
	}
	list, result := d.executables(k.pipeline)
	if result != vulkan.Success {
		return nil, d.check(result, "vkGetPipelineExecutablePropertiesKHR", "kernel "+k.name)
	}
	for i := range list {
		if list[i].Statistics, result = d.statistics(k.pipeline, i); result != vulkan.Success {
			return nil, d.check(result, "vkGetPipelineExecutableStatisticsKHR", "kernel "+k.name)
		}
	}
	return list, nil
}
