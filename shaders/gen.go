//go:build ignore

// Gen compiles every kernel of this folder to SPIR-V with glslc:
//
//	go generate ./shaders           # writes spv/*.spv and spv/SOURCES
//	cd shaders && go run gen.go -check   # rebuilds into a temporary folder and compares byte for byte
//
// A kernel is one <name>.comp. Each line "//variant NAME: -DFLAG ..." in it adds spv/<name>.<NAME>.spv compiled with
// those flags; "//types" stands for three of them, f32, f16 with -DF16 and bf16 with -DBF16, and "//types NAME: -DFLAG ..." for
// f32_NAME and so on, with the flags too. A kernel without such lines becomes spv/<name>.spv. A line "//wide" adds each of
// them compiled with -DWIDE too, under its name and "_wide".
//
// It also writes constants.go, which has the ids of the specialization constants under the names that sources give them,
// and the values that sources name: "layout(constant_id = 10) const uint S4" is SpecS4 = 10, "const uint CAUSAL = 0, WINDOW = 1"
// is Causal and Window.
package main

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
)

// module is one SPIR-V file to build.
type module struct {
	source string   // "silu.comp"
	output string   // "silu.f16.spv"
	flags  []string // "-DF16"
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("shaders: ")
	check := flag.Bool("check", false, "rebuild and compare with spv/ instead of writing it")
	flag.Parse()
	if err := run(*check); err != nil {
		log.Fatal(err)
	}
}

func run(check bool) error {
	modules, err := findModules()
	if err != nil {
		return err
	}
	manifest, err := sources()
	if err != nil {
		return err
	}
	names, err := constants()
	if err != nil {
		return err
	}
	if check {
		if have, err := os.ReadFile("constants.go"); err != nil || !bytes.Equal(have, names) {
			return fmt.Errorf("constants.go is stale: run go generate ./shaders")
		}
		return compare(modules, manifest)
	}
	if err := os.WriteFile("constants.go", names, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll("spv", 0o755); err != nil {
		return err
	}
	if err := compileAll(modules, "spv"); err != nil {
		return err
	}
	if err := removeStale(modules); err != nil {
		return err
	}
	return os.WriteFile("spv/SOURCES", manifest, 0o644)
}

// findModules reads the variant lines of every kernel.
func findModules() ([]module, error) {
	files, err := filepath.Glob("*.comp")
	if err != nil {
		return nil, err
	}
	var all []module
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		kernel := strings.TrimSuffix(f, ".comp")
		var own []module
		wide := false
		for _, line := range strings.Split(string(text), "\n") {
			wide = wide || line == "//wide"
			for _, v := range variants(line) {
				own = append(own, module{f, kernel + "." + v.name, v.flags})
			}
		}
		if len(own) == 0 {
			own = []module{{f, kernel, nil}}
		}
		for _, m := range own {
			all = append(all, module{f, m.output + ".spv", m.flags})
			if wide {
				all = append(all, module{f, m.output + "_wide.spv", append(slices.Clone(m.flags), "-DWIDE")})
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no *.comp here: run this in the shaders folder")
	}
	return all, nil
}

// variant is a version of a kernel.
type variant struct {
	name  string
	flags []string
}

// variants are those that a line of a kernel names.
func variants(line string) []variant {
	directive, rest, _ := strings.Cut(line, " ")
	name, flags, _ := strings.Cut(rest, ":")
	name, all := strings.TrimSpace(name), strings.Fields(flags)
	switch directive {
	case "//variant":
		return []variant{{name, all}}
	case "//types":
		if name != "" {
			name = "_" + name
		}
		return []variant{{"f32" + name, all}, {"f16" + name, append(slices.Clone(all), "-DF16")}, {"bf16" + name, append(slices.Clone(all), "-DBF16")}}
	}
	return nil
}

// compileAll runs one glslc per processor and returns the first kernel's error by name.
func compileAll(modules []module, dir string) error {
	errs := make([]error, len(modules))
	slots := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, m := range modules {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			args := []string{"-fshader-stage=compute", "--target-env=vulkan1.1", "-O", "-Werror", "-I."}
			args = append(args, m.flags...)
			args = append(args, m.source, "-o", filepath.Join(dir, m.output))
			if out, err := exec.Command("glslc", args...).CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("%s: %w\n%s", m.output, err, out)
			}
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func removeStale(modules []module) error {
	wanted := map[string]bool{}
	for _, m := range modules {
		wanted[m.output] = true
	}
	have, err := filepath.Glob("spv/*.spv")
	if err != nil {
		return err
	}
	for _, f := range have {
		if !wanted[filepath.Base(f)] {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// sources is the content of spv/SOURCES: the compiler's version and the SHA-256 of everything the modules are made from,
// sorted. It proves freshness where there is no glslc.
func sources() ([]byte, error) {
	version, err := exec.Command("glslc", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("glslc --version: %w (Debian: apt install glslc)", err)
	}
	var parts []string
	for _, line := range strings.Split(string(version), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Target:") {
			parts = append(parts, line)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "compiler: %s\n", strings.Join(parts, ", "))
	files, err := filepath.Glob("*.comp")
	if err != nil {
		return nil, err
	}
	lib, err := filepath.Glob("lib/*")
	if err != nil {
		return nil, err
	}
	files = append(append(files, lib...), "gen.go")
	sort.Strings(files)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(text), filepath.ToSlash(f))
	}
	return b.Bytes(), nil
}

var (
	specConstant = regexp.MustCompile(`(?m)^layout\(constant_id = (\d+)\) const \w+ (\w+) =`)
	namedValues  = regexp.MustCompile(`(?m)^const uint (\w+ = \d+(?:, \w+ = \d+)+);`)
)

// constants is the text of constants.go. A name means the same number wherever it is.
func constants() ([]byte, error) {
	files, err := filepath.Glob("*.comp")
	if err != nil {
		return nil, err
	}
	lib, err := filepath.Glob("lib/*.glsl")
	if err != nil {
		return nil, err
	}
	ids, values := map[string]string{}, map[string]string{}
	for _, f := range append(files, lib...) {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range specConstant.FindAllStringSubmatch(string(text), -1) {
			if err := define(ids, f, "Spec"+goName(m[2]), m[1]); err != nil {
				return nil, err
			}
		}
		for _, m := range namedValues.FindAllStringSubmatch(string(text), -1) {
			for _, one := range strings.Split(m[1], ", ") {
				name, value, _ := strings.Cut(one, " = ")
				if err := define(values, f, goName(name), value); err != nil {
					return nil, err
				}
			}
		}
	}
	var b bytes.Buffer
	b.WriteString("// Code generated by gen.go; DO NOT EDIT.\n\npackage shaders\n")
	for _, group := range []struct {
		comment string
		names   map[string]string
	}{{"Ids of specialization constants, by their names in the kernels.", ids}, {"Values of constants, by their names in the kernels.", values}} {
		fmt.Fprintf(&b, "\n// %s\nconst (\n", group.comment)
		for _, name := range slices.Sorted(maps.Keys(group.names)) {
			fmt.Fprintf(&b, "%s = %s\n", name, group.names[name])
		}
		b.WriteString(")\n")
	}
	return format.Source(b.Bytes())
}

func define(all map[string]string, file, name, value string) error {
	if old, ok := all[name]; ok && old != value {
		return fmt.Errorf("%s: %s is %s here and %s elsewhere", file, name, value, old)
	}
	all[name] = value
	return nil
}

// goName turns ADD_FIRST into AddFirst.
func goName(name string) string {
	var b strings.Builder
	for _, word := range strings.Split(name, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String()
}

// compare rebuilds everything elsewhere and reports the first difference from spv/.
func compare(modules []module, manifest []byte) error {
	committed, err := os.ReadFile("spv/SOURCES")
	if err != nil {
		return err
	}
	want, _, _ := bytes.Cut(committed, []byte("\n"))
	have, _, _ := bytes.Cut(manifest, []byte("\n"))
	if !bytes.Equal(want, have) {
		return fmt.Errorf("spv/ was made by another compiler, bytes cannot be compared:\nspv/SOURCES: %s\nhere:        %s", want, have)
	}
	if !bytes.Equal(committed, manifest) {
		return fmt.Errorf("spv/SOURCES is stale: run go generate ./shaders")
	}
	tmp, err := os.MkdirTemp("", "shaders")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := compileAll(modules, tmp); err != nil {
		return err
	}
	for _, m := range modules {
		a, err := os.ReadFile(filepath.Join("spv", m.output))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(tmp, m.output))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("spv/%s differs from what glslc makes: run go generate ./shaders", m.output)
		}
	}
	return nil
}
