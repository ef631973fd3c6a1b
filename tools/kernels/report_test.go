package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/vk"
)

// The names by which drivers tell the same figures, as RADV, NVK and ANV gave them.
func TestNormalize(t *testing.T) {
	for _, c := range []struct {
		driver string
		list   []vk.Statistic
		want   figures
	}{
		{"RADV", []vk.Statistic{{Name: "SGPRs", Value: 128}, {Name: "VGPRs", Value: 32}, {Name: "Spilled SGPRs", Value: 2}, {Name: "Spilled VGPRs", Value: 5},
			{Name: "Code size", Value: 6192}, {Name: "Subgroups per SIMD", Value: 16}}, figures{32, 7, 16, 6192}},
		{"NVK", []vk.Statistic{{Name: "Max warps/SM", Value: 64}, {Name: "Spills to memory", Value: 3}, {Name: "Spills to reg", Value: 9},
			{Name: "Code size", Value: 2384}, {Name: "Number of GPRs", Value: 24}}, figures{24, 3, 64, 2384}},
		{"ANV", []vk.Statistic{{Name: "Spill Count", Value: 0}, {Name: "Fill Count", Value: 4}, {Name: "Max live registers", Value: 77}}, figures{77, 0, -1, -1}},
	} {
		if got := normalize(c.list); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.driver, got, c.want)
		}
	}
}

func TestSubgroupsTooSmall(t *testing.T) {
	r := report{Kernels: []row{{Kernel: "right", Reduces: 32, Subgroup: 32}, {Kernel: "any", Subgroup: 8}, {Kernel: "wrong", Reduces: 32, Subgroup: 16}}}
	err := r.checkSubgroups()
	if err == nil || !strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "any (") {
		t.Errorf("%v, want wrong alone", err)
	}
}

func TestNewSpills(t *testing.T) {
	r := &report{Driver: "d 1", Kernels: []row{{Kernel: "a", figures: figures{Spills: 5}}, {Kernel: "b"}}}
	file := filepath.Join(t.TempDir(), "gpu.json")
	if err := writeBaseline(file, r); err != nil {
		t.Fatal(err)
	}
	known, err := readBaseline(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.checkSpills(known); err != nil {
		t.Errorf("what is known: %v", err)
	}
	for _, k := range []string{"a", "b"} {
		worse := &report{Driver: "d 1", Kernels: []row{{Kernel: k, figures: figures{Spills: 6}}}}
		if err := worse.checkSpills(known); err == nil {
			t.Errorf("%s spills more: no error", k)
		}
		worse.Driver = "d 2"
		if err := worse.checkSpills(known); err != nil {
			t.Errorf("another compiler: %v", err)
		}
	}
	other := &report{Driver: "d 1", Kernels: []row{{Kernel: "c", Group: otherDevices, figures: figures{Spills: 6}}}}
	if err := other.checkSpills(known); err != nil {
		t.Errorf("a kernel for other devices: %v", err)
	}
	if _, err := readBaseline(file + "x"); err == nil {
		t.Error("a missing baseline is no error")
	}
}

func TestReportsSideBySide(t *testing.T) {
	a := report{Driver: "one", Kernels: []row{{Kernel: "k 0=64 3=64", figures: figures{24, 3, 8, 100}}, {Kernel: "l", figures: figures{8, 0, 2, 100}}, {Kernel: "m", Group: otherDevices, figures: figures{8, 9, 2, 100}}}}
	b := report{Driver: "two", Kernels: []row{{Kernel: "k 0=64 3=32", figures: figures{32, 0, -1, -1}}}}
	var out strings.Builder
	if err := markdown(&out, []named{{"x", a}, {"y", b}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| x | one | 3 | 1 | 1 |", "| y | two | 1 | 0 | 0 |", "| k 0=64 | 24/3/8 | 32/0/- |"} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "| l |") || strings.Contains(out.String(), "| m |") {
		t.Errorf("a kernel that spills nowhere, or that no device here chooses, is listed:\n%s", out.String())
	}
}
