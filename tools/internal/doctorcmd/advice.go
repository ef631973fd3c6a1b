package doctorcmd

import (
	"os"
	"runtime"
	"strings"
)

// packages say what to install for the loader and for drivers, by the ID of /etc/os-release or one that it is like.
var packages = []struct{ ids, install string }{
	{"debian ubuntu", "sudo apt install libvulkan1 mesa-vulkan-drivers (AMD, Intel, and the processor; NVIDIA: nvidia-vulkan-icd on Debian, " +
		"the libnvidia-gl package of the driver's version on Ubuntu)"},
	{"fedora rhel", "sudo dnf install vulkan-loader mesa-vulkan-drivers (AMD, Intel, and the processor; NVIDIA: xorg-x11-drv-nvidia of RPM Fusion)"},
	{"arch", "sudo pacman -S vulkan-icd-loader and vulkan-radeon (AMD), vulkan-intel, nvidia-utils, or vulkan-swrast (the processor)"},
	{"alpine", "sudo apk add vulkan-loader and mesa-vulkan-ati (AMD), mesa-vulkan-intel, or mesa-vulkan-swrast (the processor)"},
}

// install says what brings a loader and a driver to this system.
func install() string {
	release, _ := os.ReadFile("/etc/os-release")
	return installOn(runtime.GOOS, string(release))
}

// installOn is install for a system and its /etc/os-release.
func installOn(goos, release string) string {
	switch goos {
	case "windows":
		return "install the driver from the GPU's vendor (NVIDIA, AMD, Intel), which brings Vulkan; the one that Windows installs may lack it"
	case "darwin":
		return "install MoltenVK: brew install molten-vk vulkan-loader"
	}
	ids := strings.Fields(osRelease(release, "ID") + " " + osRelease(release, "ID_LIKE"))
	var all []string
	for _, p := range packages {
		for _, id := range ids {
			if strings.Contains(" "+p.ids+" ", " "+id+" ") {
				return p.install
			}
		}
		first, _, _ := strings.Cut(p.ids, " ")
		all = append(all, first+": "+p.install)
	}
	return strings.Join(all, "; ")
}

// osRelease returns a value of /etc/os-release.
func osRelease(release, key string) string {
	for line := range strings.Lines(release) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), key+"="); found {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}
