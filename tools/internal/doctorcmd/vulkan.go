package doctorcmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/vk"
)

// device is a device of the loader's list, as a report has it.
type device struct {
	vk.Info
	Kind string // by name
}

// askVulkan finds the loader, the devices, and what the one that programs open offers.
func askVulkan(context.Context) []Check {
	library, version, err := vk.Loader()
	if err != nil {
		return []Check{fail("loader", install(), "%s", reason(err))}
	}
	loader := good("loader", "%s, Vulkan %s", library, version).with("library", library).with("version", version)
	if path := mapped(library); path != "" {
		loader = good("loader", "%s, Vulkan %s", path, version).with("library", path).with("version", version)
	}
	infos, err := vk.Devices()
	if err != nil {
		return []Check{loader, fail("device", "see what is said of the drivers; "+install(), "%s", reason(err))}
	}
	devices := make([]device, len(infos))
	for i, info := range infos {
		devices[i] = device{info, info.Kind.String()}
	}
	dev, err := vk.Open(nil)
	if err != nil {
		return []Check{loader, fail("device", deviceAdvice(err), "%s", reason(err)).with("devices", devices)}
	}
	info := dev.Info()
	checks := []Check{loader, checkChoice(infos, info, os.Getenv("LEMNOS_DEVICE")).with("devices", devices).with("opened", info.Index),
		checkLimits(info), checkKnown(info, os.Getenv), checkCache(dev)}
	if err := dev.Close(); err != nil {
		checks = append(checks, fail("close", deviceAdvice(err), "%s", reason(err)))
	}
	return checks
}

// reason is an error without what to install, which is the advice.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "; install ")
	return strings.TrimPrefix(text, "vk: ")
}

// deviceAdvice says what to do after an error of a device.
func deviceAdvice(err error) string {
	switch {
	case errors.Is(err, vk.ErrDeviceLost):
		return "the system's log says why (Linux: dmesg; Windows: the event log): a time limit of the system, a crash of the driver or " +
			"too little power; install the newest driver, and close what else uses the device"
	case errors.Is(err, vk.ErrOutOfMemory):
		return "close what else uses the device's memory"
	case errors.Is(err, vk.ErrNoDevice):
		return "mend or unset LEMNOS_DEVICE; lemnos devices lists what there is"
	}
	return "install the driver's newest version"
}

// mapped is the file that a library of this process was loaded from, where the system tells: it may be another than expected.
func mapped(library string) string {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return ""
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if _, path, found := strings.Cut(lines.Text(), "/"); found && strings.HasPrefix(filepath.Base(path), strings.TrimSuffix(library, ".1")) {
			return "/" + path
		}
	}
	return ""
}

// checkChoice tells which device programs open, and why. wanted is what LEMNOS_DEVICE asks for.
func checkChoice(infos []vk.Info, opened vk.Info, wanted string) Check {
	const name = "device"
	why := "the only one"
	if len(infos) > 1 {
		why = fmt.Sprintf("the best of %d by kind, then memory", len(infos))
	}
	if wanted != "" {
		why = fmt.Sprintf("LEMNOS_DEVICE is %q", wanted)
	}
	summary := fmt.Sprintf("%d: %s, %s, %s, Vulkan %s (%s)", opened.Index, opened.Name, opened.Kind, opened.Driver, opened.API, why)
	if opened.Kind != vk.CPU {
		return good(name, "%s", summary)
	}
	for _, info := range infos {
		if info.Kind <= vk.Virtual {
			return warn(name, fmt.Sprintf("unset LEMNOS_DEVICE, or set it to %d for the GPU", info.Index),
				"%s: a processor, while there is %s", summary, info.Name)
		}
	}
	return warn(name, "for a GPU, install its driver", "%s: a processor, which trains small models alone", summary)
}

// checkLimits tells what kernels are chosen by. All that they cannot do without, Vulkan 1.1 promises.
func checkLimits(info vk.Info) Check {
	const name = "limits"
	c := info.Caps
	list := []string{fmt.Sprintf("memory %s", command.Size(info.Memory)), fmt.Sprintf("tensors of up to %s", command.Size(min(c.MaxAllocation, uint64(c.MaxStorageRange)))),
		fmt.Sprintf("workgroups of %d", c.MaxInvocations), fmt.Sprintf("subgroups of %d", c.SubgroupSize), fmt.Sprintf("%s shared", command.Size(uint64(c.SharedMemory)))}
	var without []string
	for _, f := range []struct {
		has  bool
		what string
	}{{c.SubgroupArithmetic, "subgroup arithmetic"}, {c.Storage16, "16-bit storage"}, {c.Float16, "16-bit arithmetic"},
		{c.TimestampPeriod > 0, "time stamps"}, {len(c.Matrices) > 0, "matrix cores"}} {
		if !f.has {
			without = append(without, f.what)
		}
	}
	if len(without) > 0 {
		list = append(list, "no "+strings.Join(without, ", no ")+" (kernels do without)")
	}
	return good(name, "%s", strings.Join(list, ", "))
}

// checkCache tells whether compiled kernels are kept, which saves each start some seconds.
func checkCache(dev *vk.Device) Check {
	const name, probe = "kernel cache", "doctor"
	path := dev.CachePath(probe)
	if path == "" {
		if os.Getenv("LEMNOS_CACHE") == "off" {
			return good(name, "off by LEMNOS_CACHE: kernels are compiled at each start")
		}
		return warn(name, "set LEMNOS_CACHE to a folder", "there is no folder for it: kernels are compiled at each start")
	}
	folder := filepath.Dir(path)
	err := dev.WriteCache(probe, "x")
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return warn(name, "make the folder writable, or set LEMNOS_CACHE to another", "kernels are compiled at each start: %v", err).with("folder", folder)
	}
	var bytes uint64
	filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // another process may have removed it
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			bytes += uint64(info.Size())
		}
		return nil
	})
	return good(name, "%s holds %s", folder, command.Size(bytes)).with("folder", folder).with("bytes", bytes)
}

// listed returns the devices that the loader listed, and whether one was opened.
func listed(checks []Check) (devices []device, opened bool) {
	for _, c := range checks {
		if list := c.Details["devices"]; list != nil {
			data, err := json.Marshal(list)
			opened = err == nil && json.Unmarshal(data, &devices) == nil
		}
	}
	return devices, opened && !slices.ContainsFunc(checks, func(c Check) bool { return c.Status == failure })
}
