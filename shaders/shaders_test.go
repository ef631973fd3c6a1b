package shaders

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

// TestSourcesFresh proves without a compiler that spv/ was generated from the sources as they are now.
func TestSourcesFresh(t *testing.T) {
	recorded, err := os.ReadFile("spv/SOURCES")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(recorded)), "\n")
	if !strings.HasPrefix(lines[0], "compiler: shaderc ") {
		t.Errorf("spv/SOURCES starts with %q, want the compiler's version", lines[0])
	}
	var want []string
	for _, pattern := range []string{"*.comp", "lib/*", "gen/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%x  %s", sha256.Sum256(text), filepath.ToSlash(f)))
		}
	}
	byName := func(list []string) func(i, j int) bool {
		return func(i, j int) bool { return list[i][66:] < list[j][66:] }
	}
	sort.Slice(want, byName(want))
	got := slices.DeleteFunc(lines[1:], func(line string) bool { return strings.HasPrefix(line, "newer: shaderc ") })
	if len(got) != len(want) {
		t.Fatalf("spv/SOURCES lists %d files, the folder has %d: run go generate ./shaders", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("spv/SOURCES has %q, want %q: run go generate ./shaders", got[i], want[i])
		}
	}
}

// TestVariantsAreComplete checks that each variant has its module and each module its line.
func TestVariantsAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.comp")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		kernel := strings.TrimSuffix(f, ".comp")
		own := map[string]bool{kernel: true}
		for _, line := range strings.Split(string(text), "\n") {
			rest, types := strings.CutPrefix(line, "//types")
			names := strings.Fields(rest)
			switch name, _, suffix := strings.Cut(rest, ":"); {
			case line == "//wide":
				for name := range maps.Clone(own) {
					own[name+"_wide"] = true
				}
				continue
			case !types:
				continue
			case suffix:
				names = []string{"f32_" + strings.TrimSpace(name), "b16_" + strings.TrimSpace(name)}
			case len(names) == 0:
				names = []string{"f32", "b16"}
			}
			delete(own, kernel)
			for _, name := range names {
				if name = kernel + "." + name; own[name] {
					t.Errorf("%s: variant %s is listed twice", f, name)
				}
				own[name] = true
			}
		}
		maps.Copy(want, own)
	}
	for _, name := range Names() {
		if !want[name] {
			t.Errorf("spv/%s.spv belongs to no variant line", name)
		}
		delete(want, name)
		code, err := Load(name)
		if err != nil {
			t.Errorf("Load(%q): %v", name, err)
		} else if len(code) < 20 || len(code)%4 != 0 || binary.LittleEndian.Uint32(code) != 0x07230203 {
			t.Errorf("Load(%q): %d bytes that are not SPIR-V", name, len(code))
		}
	}
	for name := range want {
		t.Errorf("%s has no module in spv/: run go generate ./shaders", name)
	}
}

func TestModule(t *testing.T) {
	for _, c := range []struct {
		kernel, module string
		from, to       uint32
	}{
		{"copy", "copy", 0, 0}, {"unary.f32", "unary.f32", 0, 0}, {"unary.f16", "unary.b16", 0, 0}, {"unary.bf16", "unary.b16", 1, 1},
		{"cast.f16_bf16", "cast.b16_b16", 0, 1}, {"cast.bf16_f16", "cast.b16_b16", 1, 0}, {"cast.f32_bf16", "cast.f32_b16", 0, 1},
		{"layernorm.bf16_long", "layernorm.b16_long", 1, 1}, {"fill.b16", "fill.b16", 0, 0},
		{"matmul_coop.bf16_f32", "matmul_coop.bf16_f32", 0, 0},
	} {
		module, spec := Module(c.kernel)
		if module != c.module || spec[SpecBf16] != c.from || spec[SpecToBf16] != c.to || !Has(module) {
			t.Errorf("Module(%q) = %q, %v, want %q with %d and %d", c.kernel, module, spec, c.module, c.from, c.to)
		}
	}
}

func TestLoadUnknown(t *testing.T) {
	for _, name := range []string{"", "nosuch", "copy.f32", "../SOURCES", "SOURCES"} {
		if code, err := Load(name); err == nil {
			t.Errorf("Load(%q) = %d bytes, want an error", name, len(code))
		} else if !strings.HasPrefix(err.Error(), "shaders: ") || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("Load(%q): error %q does not name the package and the kernel", name, err)
		}
	}
}
