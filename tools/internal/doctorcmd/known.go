package doctorcmd

import (
	"strings"

	"github.com/lemnos-ml/lemnos/vk"
)

// known is what a driver, or something around it, is known to do.
type known struct {
	found  func(info vk.Info, env func(string) string) bool
	what   string
	link   string
	harms  bool   // else the kernels are written around it
	advice string // of what harms
}

// knownDrivers are those that something was found out about while this was written. See package vk, Drivers.
var knownDrivers = []known{
	{
		found: func(info vk.Info, _ func(string) string) bool { return strings.HasPrefix(info.Name, "llvmpipe") },
		what:  "llvmpipe ends the loops of an invocation after 65,535 passes, silently: kernels of your own must not need more",
		link:  "https://gitlab.freedesktop.org/mesa/mesa/-/blob/mesa-22.3.6/src/gallium/auxiliary/gallivm/lp_bld_limits.h",
	},
	{
		found: func(info vk.Info, _ func(string) string) bool {
			return info.Kind == vk.CPU && len(info.Caps.Matrices) > 0
		},
		what: "a processor that lists cooperative matrices computes them slower than other kernels: they are not used",
		link: "https://docs.mesa3d.org/drivers/llvmpipe.html",
	},
	{
		found: func(info vk.Info, _ func(string) string) bool { return !info.Caps.SubgroupArithmetic },
		what:  "without subgroup arithmetic reductions go through shared memory, which takes longer",
		link:  "https://docs.vulkan.org/guide/latest/subgroups.html",
	},
	{
		found: func(_ vk.Info, env func(string) string) bool {
			for _, name := range []string{"VK_INSTANCE_LAYERS", "VK_LOADER_LAYERS_ENABLE"} {
				if strings.Contains(strings.ToLower(env(name)), "validation") {
					return true
				}
			}
			return false
		},
		what:   "the validation layer is on: all is slower, and version 1.3.239 may crash where two threads have a device each",
		link:   "https://github.com/KhronosGroup/Vulkan-ValidationLayers/issues/4391",
		harms:  true,
		advice: "unset VK_INSTANCE_LAYERS and VK_LOADER_LAYERS_ENABLE for training",
	},
	{
		found: func(info vk.Info, env func(string) string) bool {
			return env("RADV_FORCE_FAMILY") != "" || strings.Contains(env("LD_PRELOAD"), "drm_shim")
		},
		what:   "the driver compiles for a GPU that is not there, and runs nothing",
		link:   "https://docs.mesa3d.org/envvars.html",
		harms:  true,
		advice: "unset RADV_FORCE_FAMILY, and LD_PRELOAD of Mesa's drm-shim",
	},
}

// checkKnown tells what is known about the driver.
func checkKnown(info vk.Info, env func(string) string) Check {
	const name = "known faults"
	var notes, links, advice []string
	for _, k := range knownDrivers {
		if !k.found(info, env) {
			continue
		}
		notes, links = append(notes, k.what), append(links, k.link)
		if k.harms {
			advice = append(advice, k.advice)
		}
	}
	switch {
	case len(notes) == 0:
		return good(name, "none of %s", info.Driver)
	case len(advice) > 0:
		return warn(name, strings.Join(advice, "; "), "%s", strings.Join(notes, "; ")).with("links", links)
	}
	return good(name, "%s", strings.Join(notes, "; ")).with("links", links)
}
