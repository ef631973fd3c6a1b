package doctorcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Vendors of GPUs by their PCI numbers.
const (
	nvidia = 0x10de
	amd    = 0x1002
	intel  = 0x8086
)

var vendors = map[uint32]string{nvidia: "NVIDIA", amd: "AMD", intel: "Intel"}

// gpus lists the vendors of the GPUs on the PCI bus, each once; Linux tells them even in a container.
func (m *machine) gpus() []uint32 {
	var found []uint32
	for _, class := range m.list("/sys/bus/pci/devices/*/class") {
		const display = "0x03" // a controller of displays, or of none
		vendor, err := strconv.ParseUint(m.read(path.Dir(class)+"/vendor"), 0, 32)
		if v := uint32(vendor); err == nil && strings.HasPrefix(m.read(class), display) && vendors[v] != "" && !slices.Contains(found, v) {
			found = append(found, v)
		}
	}
	// Where a virtual machine hides the bus, the driver still tells.
	if m.has("/proc/driver/nvidia/version") && !slices.Contains(found, nvidia) {
		found = append(found, nvidia)
	}
	slices.Sort(found)
	return found
}

// checkGPUs tells why a GPU of this machine is not among Vulkan's devices.
func (m *machine) checkGPUs(devices []device) Check {
	const name = "GPUs"
	var here, missing, advice []string
	for _, vendor := range m.gpus() {
		here = append(here, vendors[vendor])
		if !slices.ContainsFunc(devices, func(d device) bool { return d.VendorID == vendor && d.Kind != "cpu" }) {
			missing = append(missing, vendors[vendor])
			advice = append(advice, m.whyMissing(vendor))
		}
	}
	c := good(name, "%s, found by Vulkan", strings.Join(here, ", "))
	switch {
	case len(missing) > 0:
		c = warn(name, strings.Join(advice, "; "), "the machine has a GPU of %s that Vulkan does not find", strings.Join(missing, ", "))
	case m.wsl() && m.has("/dev/dxg") && !slices.ContainsFunc(devices, func(d device) bool { return d.Kind != "cpu" }):
		c = warn(name, "use the program for Windows, or a Mesa in WSL that has the driver dzn (Vulkan on Direct3D 12)",
			"the GPU is seen through /dev/dxg, which the vendors' drivers for Linux do not use")
	case len(here) == 0 && slices.ContainsFunc(devices, func(d device) bool { return d.Kind != "cpu" }):
		c = good(name, "found by Vulkan")
	case len(here) == 0:
		c = good(name, "this system tells of none")
	}
	return c.with("vendors", here).with("missing", missing)
}

// whyMissing says what to do for Vulkan to find the GPU of a vendor.
func (m *machine) whyMissing(vendor uint32) string {
	nodes := m.list("/dev/dri/renderD*")
	if own := m.has("/dev/nvidiactl") || m.has("/proc/driver/nvidia/version"); vendor == nvidia && (own || len(nodes) == 0) {
		return m.whyNoNVIDIA()
	}
	for _, node := range nodes {
		if errors.Is(m.open(node), fs.ErrPermission) {
			if m.container() {
				return "this user may not open " + node + ": start the container with --group-add and the number of the group that owns it on the host"
			}
			return "this user may not open " + node + ": sudo usermod -aG render,video $USER, then log in again"
		}
	}
	switch {
	case len(nodes) == 0 && m.container():
		return "start the container with --device /dev/dri"
	case len(nodes) == 0:
		return fmt.Sprintf("there is no /dev/dri/renderD128: the kernel's driver for %s is not loaded (lspci -k tells which it wants; dmesg why not)", vendors[vendor])
	case vendor == nvidia:
		return "install NVIDIA's own driver, or a newer Mesa, whose driver for NVIDIA is NVK"
	}
	return installOn("linux", m.read("/etc/os-release"))
}

// whyNoNVIDIA says what NVIDIA's own driver lacks: what computes with CUDA may still lack what Vulkan needs.
func (m *machine) whyNoNVIDIA() string {
	capabilities := m.env("NVIDIA_DRIVER_CAPABILITIES")
	switch {
	case m.container() && !m.has("/dev/nvidiactl"):
		return "start the container with NVIDIA's container toolkit: --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics"
	case m.container() && !strings.Contains(capabilities, "graphics") && !strings.Contains(capabilities, "all"):
		return fmt.Sprintf("NVIDIA_DRIVER_CAPABILITIES is %q, without graphics, which Vulkan is part of: "+
			"start the container with -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics", capabilities)
	case !m.has("/proc/driver/nvidia/version"):
		return "NVIDIA's kernel module is not loaded: install the driver, or restart after its installation"
	case errors.Is(m.open("/dev/nvidiactl"), fs.ErrPermission):
		return "this user may not open /dev/nvidiactl: sudo usermod -aG video $USER, then log in again"
	}
	return "the driver is there without its part for Vulkan: Debian nvidia-vulkan-icd, Ubuntu the libnvidia-gl package of the driver's version, " +
		"Fedora xorg-x11-drv-nvidia (RPM Fusion), Arch nvidia-utils; where that is installed, its manifest nvidia_icd.json belongs in /usr/share/vulkan/icd.d"
}
