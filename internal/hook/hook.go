// Package hook is where a test puts itself between this module and Vulkan.
package hook

import "unsafe"

// ProcAddr, when a test sets it before the process's first Vulkan call, takes the loader's vkGetInstanceProcAddr and
// returns the one to use in its place.
var ProcAddr func(unsafe.Pointer) unsafe.Pointer
