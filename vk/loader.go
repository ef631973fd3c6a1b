package vk

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/lemnos-ml/lemnos/internal/hook"
	vulkan "github.com/vulkan-go/vulkan"
)

// loaded is the process's one VkInstance. The binding keeps its function pointers in C globals, so the
// instance is made once, by the first call that needs it, and stays until the process ends.
var loaded struct {
	sync.Mutex
	library  string // the name that the loader was opened by; empty: the function pointers are not set up
	instance vulkan.Instance
}

// libraries are the loader's names: the run-time name first, since only -dev packages install the other.
var libraries = map[string][]string{
	"windows": {"vulkan-1.dll"},
	"darwin":  {"libvulkan.1.dylib", "libvulkan.dylib", "/usr/local/lib/libvulkan.1.dylib", "/opt/homebrew/lib/libvulkan.1.dylib", "libMoltenVK.dylib"},
	"linux":   {"libvulkan.so.1", "libvulkan.so"},
}

// install says, per system, what provides a loader and a driver.
var install = map[string]string{
	"windows": "install the graphics card's driver, which brings Vulkan",
	"darwin":  "install MoltenVK: brew install molten-vk vulkan-loader",
	"linux": "install the graphics card's driver and the Vulkan loader; for the CPU, Mesa's lavapipe: " +
		"apt install libvulkan1 mesa-vulkan-drivers (Debian, Ubuntu), " +
		"dnf install vulkan-loader mesa-vulkan-drivers (Fedora), pacman -S vulkan-icd-loader vulkan-swrast (Arch)",
}

func noDevice(what string) error {
	hint := install[runtime.GOOS]
	if hint == "" {
		hint = install["linux"]
	}
	return fmt.Errorf("vk: %w: %s; %s", ErrNoDevice, what, hint)
}

// loadInstance returns the instance, making it on the first call. A failure is not remembered: the
// next call tries again. The caller holds loaded's lock.
func loadInstance() (vulkan.Instance, error) {
	if loaded.instance != nil {
		return loaded.instance, nil
	}
	if err := loadLibrary(); err != nil {
		return nil, err
	}
	if v := instanceVersion(); v < vulkan.MakeVersion(1, 1, 0) {
		return nil, noDevice(fmt.Sprintf("the Vulkan loader is version %s, 1.1 is needed", vulkan.Version(v)))
	}
	instance, result := createInstance()
	if result == vulkan.ErrorIncompatibleDriver {
		return nil, noDevice("the Vulkan loader found no driver")
	}
	if result != vulkan.Success {
		return nil, resultError(result, "vkCreateInstance", "")
	}
	err := vulkan.InitInstance(instance)
	if err == nil {
		err = shimLoadInstance(instance)
	}
	if err != nil {
		vulkan.DestroyInstance(instance, nil)
		return nil, err
	}
	loaded.instance = instance
	return instance, nil
}

// Loader returns the name of the library that the Vulkan loader is, and the newest version of Vulkan that it knows. It asks for
// no driver; ErrNoDevice where there is no loader.
func Loader() (library, version string, err error) {
	loaded.Lock()
	defer loaded.Unlock()
	if err := loadLibrary(); err != nil {
		return "", "", err
	}
	return loaded.library, vulkan.Version(instanceVersion()).String(), nil
}

// loadLibrary opens the Vulkan loader and hands its vkGetInstanceProcAddr to the binding and the shim, once. The caller holds
// loaded's lock.
func loadLibrary() error {
	if loaded.library != "" {
		return nil
	}
	names := libraries[runtime.GOOS]
	if names == nil {
		names = libraries["linux"]
	}
	var proc unsafe.Pointer
	var name string
	for _, name = range names {
		if proc = openLibrary(name); proc != nil {
			break
		}
	}
	if proc == nil {
		return noDevice(fmt.Sprintf("no Vulkan loader (%s)", names[0]))
	}
	if hook.ProcAddr != nil {
		proc = hook.ProcAddr(proc)
	}
	vulkan.SetGetInstanceProcAddr(proc)
	if err := vulkan.Init(); err != nil {
		return fmt.Errorf("vk: %w", err)
	}
	if err := shimLoad(proc); err != nil {
		return err
	}
	loaded.library = name
	return nil
}
