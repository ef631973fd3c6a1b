package vk

import (
	"errors"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	infos := []Info{
		{Name: "llvmpipe (LLVM 15.0.6, 256 bits)", Kind: CPU, Memory: 64 << 30},
		{Name: "Intel(R) UHD Graphics 630", Kind: Integrated, Memory: 32 << 30},
		{Name: "NVIDIA GeForce RTX 3060", Kind: Discrete, Memory: 12 << 30},
		{Name: "NVIDIA GeForce RTX 4090", Kind: Discrete, Memory: 24 << 30},
		{Name: "NVIDIA GeForce RTX 4090", Kind: Discrete, Memory: 24 << 30},
		{Name: "Virtio-GPU Venus", Kind: Virtual, Memory: 8 << 30},
		{Name: "A thing", Kind: Other, Memory: 99 << 30},
	}
	tests := []struct {
		infos []Info
		name  string
		want  int
	}{
		{infos, "", 3},
		{infos, "auto", 3},
		{infos, "AUTO", 3},
		{infos, "0", 0},
		{infos, " 6 ", 6},
		{infos, "nvidia", 3},
		{infos, "3060", 2}, // no index: looked for in the names
		{infos, "LLVMpipe", 0},
		{infos, "uhd", 1},
		{infos, "7", -1},
		{infos, "-1", -1},
		{infos, "radeon", -1},
		{infos[:2], "", 1},
		{infos[:1], "", 0},
		{infos[5:], "", 0},
		{[]Info{infos[0], infos[5]}, "", 1},
		{[]Info{infos[6], infos[0]}, "", 1},
	}
	for _, test := range tests {
		got, err := choose(test.infos, test.name)
		switch {
		case test.want < 0:
			if !errors.Is(err, ErrNoDevice) {
				t.Errorf("choose(%q) = %d, %v; want ErrNoDevice", test.name, got, err)
			}
		case err != nil || got != test.want:
			t.Errorf("choose(%q) = %d, %v; want %d", test.name, got, err, test.want)
		}
	}
}

func TestWanted(t *testing.T) {
	t.Setenv("LEMNOS_DEVICE", "from the environment")
	if got := wanted(&Options{}); got != "from the environment" {
		t.Errorf("no option: %q", got)
	}
	if got := wanted(&Options{Device: "0"}); got != "0" {
		t.Errorf("option 0: %q", got)
	}
}

// TestMemoryTypes: the memory types are those that drivers report, reduced to what matters.
func TestMemoryTypes(t *testing.T) {
	const (
		local    = deviceLocal
		coherent = hostCoherent
		cached   = hostCached
		gib      = 1 << 30
	)
	tests := []struct {
		name         string
		types        []memoryType
		bits         uint32
		device, host int
		visible      bool
	}{
		{"lavapipe", []memoryType{{local | coherent | cached, 0, 2 * gib}}, 1, 0, 0, true},
		{"NVIDIA without resizable BAR", []memoryType{
			{0, 1, 32 * gib}, {local, 0, 8 * gib}, {coherent, 1, 32 * gib}, {coherent | cached, 1, 32 * gib}, {local | coherent, 2, gib / 4},
		}, 0x1f, 1, 3, false},
		{"NVIDIA with resizable BAR", []memoryType{
			{0, 1, 32 * gib}, {local, 0, 8 * gib}, {coherent, 1, 32 * gib}, {coherent | cached, 1, 32 * gib}, {local | coherent, 0, 8 * gib},
		}, 0x1f, 4, 3, true},
		{"AMD with device-coherent types", []memoryType{
			{local, 0, 16 * gib}, {local | 0x40, 0, 16 * gib}, {coherent, 1, 32 * gib}, {local | coherent | 0x40 | 0x80, 0, 16 * gib}, {coherent | cached, 1, 32 * gib},
		}, 0x1f, 0, 4, false},
		{"buffers may not use the best type", []memoryType{
			{local | coherent, 0, 8 * gib}, {coherent | cached, 1, 32 * gib}, {local, 0, 8 * gib},
		}, 0b110, 2, 1, false},
		{"no device-local memory", []memoryType{{coherent, 0, 4 * gib}}, 1, 0, 0, true},
		{"lazily allocated memory is for images", []memoryType{{local | 0x10, 0, 4 * gib}, {local, 0, 4 * gib}}, 3, 1, -1, false},
		{"none allowed", []memoryType{{local | coherent, 0, 4 * gib}}, 0, -1, -1, false},
	}
	for _, test := range tests {
		device, host := deviceMemoryType(test.types, test.bits), hostMemoryType(test.types, test.bits)
		if device != test.device || host != test.host {
			t.Errorf("%s: device memory %d, host memory %d; want %d, %d", test.name, device, host, test.device, test.host)
		}
		if device >= 0 && (test.types[device].flags&hostCoherent == hostCoherent) != test.visible {
			t.Errorf("%s: mapped %t, want %t", test.name, !test.visible, test.visible)
		}
	}
}

// The loader is found without asking a driver, and again.
func TestLoader(t *testing.T) {
	for range 2 {
		library, version, err := Loader()
		if errors.Is(err, ErrNoDevice) {
			t.Skip(err)
		}
		if err != nil || library == "" || !strings.HasPrefix(version, "1.") {
			t.Errorf("%q, %q, %v", library, version, err)
		}
	}
}
