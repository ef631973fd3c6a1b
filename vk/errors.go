package vk

import (
	"errors"
	"fmt"

	vulkan "github.com/vulkan-go/vulkan"
)

var (
	// ErrNoDevice: no Vulkan loader, driver or usable device on this system, or none by the name asked for.
	ErrNoDevice = errors.New("no Vulkan device")
	// ErrDeviceLost: the driver gave the device up (a crash, a reset, an unplugged card). All of the
	// device's memory is gone; only Close and a new Open help.
	ErrDeviceLost = errors.New("device lost")
	// ErrOutOfMemory: not enough memory, on the device or the host; also a buffer larger than the device allows.
	ErrOutOfMemory = errors.New("out of memory")

	errClosed      = errors.New("vk: device is closed")
	errCompileOnly = errors.New("the device was opened for compiling only")
)

// resultNames are the failures that Vulkan 1.1 compute calls document.
var resultNames = map[vulkan.Result]string{
	vulkan.ErrorInitializationFailed: "VK_ERROR_INITIALIZATION_FAILED",
	vulkan.ErrorLayerNotPresent:      "VK_ERROR_LAYER_NOT_PRESENT",
	vulkan.ErrorExtensionNotPresent:  "VK_ERROR_EXTENSION_NOT_PRESENT",
	vulkan.ErrorFeatureNotPresent:    "VK_ERROR_FEATURE_NOT_PRESENT",
	vulkan.ErrorIncompatibleDriver:   "VK_ERROR_INCOMPATIBLE_DRIVER",
	vulkan.ErrorTooManyObjects:       "VK_ERROR_TOO_MANY_OBJECTS",
	vulkan.ErrorFragmentedPool:       "VK_ERROR_FRAGMENTED_POOL",
	vulkan.ErrorInvalidShaderNv:      "VK_ERROR_INVALID_SHADER_NV",
}

// resultError turns a VkResult other than success into an error that names the call and, where it
// helps, what was asked of it.
func resultError(result vulkan.Result, call, detail string) error {
	if detail != "" {
		call += " (" + detail + ")"
	}
	switch result {
	case vulkan.ErrorDeviceLost:
		return fmt.Errorf("vk: %s: %w: the driver gave it up, for a crash, a time limit or an unplugged card (the system's log says which); close it and open it again", call, ErrDeviceLost)
	case vulkan.ErrorOutOfHostMemory, vulkan.ErrorOutOfPoolMemory:
		return fmt.Errorf("vk: %s: %w on the host", call, ErrOutOfMemory)
	case vulkan.ErrorMemoryMapFailed:
		return fmt.Errorf("vk: %s: %w to map on the host: the process's addresses or the driver's window are used up", call, ErrOutOfMemory)
	case vulkan.ErrorOutOfDeviceMemory:
		return fmt.Errorf("vk: %s: %w on the device: other programs may have some of it, or less must be asked for", call, ErrOutOfMemory)
	}
	if name, ok := resultNames[result]; ok {
		return fmt.Errorf("vk: %s: %s", call, name)
	}
	return fmt.Errorf("vk: %s: VkResult %d", call, result)
}

// check is resultError for calls on the device: nil on success, and a lost device is remembered.
func (d *Device) check(result vulkan.Result, call, detail string) error {
	if result == vulkan.Success {
		return nil
	}
	err := resultError(result, call, detail)
	if result == vulkan.ErrorDeviceLost && d.lost == nil {
		d.lost = err
	}
	return err
}

// usable is the error that every call on a closed or lost device returns.
func (d *Device) usable() error {
	if d.closed {
		return errClosed
	}
	return d.lost
}
