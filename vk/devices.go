package vk

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	vulkan "github.com/vulkan-go/vulkan"
)

// Devices lists what Open can open: devices with Vulkan 1.1 and a compute queue, in the loader's order.
// ErrNoDevice when there is none.
func Devices() ([]Info, error) {
	list, err := enumerate()
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(list))
	for i, p := range list {
		infos[i] = p.info
	}
	return infos, nil
}

func enumerate() ([]*physical, error) {
	loaded.Lock()
	defer loaded.Unlock()
	instance, err := loadInstance()
	if err != nil {
		return nil, err
	}
	var count uint32
	if result := vulkan.EnumeratePhysicalDevices(instance, &count, nil); result != vulkan.Success {
		return nil, enumerateError(result)
	}
	handles := make([]vulkan.PhysicalDevice, count)
	if count > 0 {
		// Incomplete: a device was plugged in between the calls; those asked for are there.
		result := vulkan.EnumeratePhysicalDevices(instance, &count, handles)
		if result != vulkan.Success && result != vulkan.Incomplete {
			return nil, enumerateError(result)
		}
	}
	var list []*physical
	for _, h := range handles[:count] {
		if p := describe(h); p != nil {
			p.info.Index = len(list)
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, noDevice(fmt.Sprintf("no device with Vulkan 1.1 and a compute queue (%d found without)", count))
	}
	return list, nil
}

// enumerateError: loaders report a system without drivers as a failed initialization here.
func enumerateError(result vulkan.Result) error {
	if result == vulkan.ErrorInitializationFailed {
		return noDevice("the Vulkan loader found no working driver")
	}
	return resultError(result, "vkEnumeratePhysicalDevices", "")
}

// choose picks the device that a name asks for: an index, part of a name, or the best when it is empty
// or "auto". A number that is no index is looked for in the names ("4090").
func choose(infos []Info, name string) (int, error) {
	name = strings.TrimSpace(name)
	auto := name == "" || strings.EqualFold(name, "auto")
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(infos) {
		return i, nil
	}
	best := -1
	for i, info := range infos {
		if !auto && !strings.Contains(strings.ToLower(info.Name), strings.ToLower(name)) {
			continue
		}
		if best < 0 || better(info, infos[best]) {
			best = i
		}
	}
	if best < 0 {
		names := make([]string, len(infos))
		for i, info := range infos {
			names[i] = fmt.Sprintf("%d %q", i, info.Name)
		}
		return 0, fmt.Errorf("vk: %w matches %q; there are: %s", ErrNoDevice, name, strings.Join(names, ", "))
	}
	return best, nil
}

// better orders devices by kind, then by memory; equal ones stay in the loader's order.
func better(a, b Info) bool {
	if a.Kind != b.Kind {
		return a.Kind < b.Kind
	}
	return a.Memory > b.Memory
}

// wanted is the device that the options, or else the environment, ask for.
func wanted(o *Options) string {
	if o.Device != "" {
		return o.Device
	}
	return os.Getenv("LEMNOS_DEVICE")
}
