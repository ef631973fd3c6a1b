//go:build ignore

// Gen compiles every kernel of this folder to SPIR-V with glslc:
//
//	go generate ./shaders           # writes spv/*.spv and spv/SOURCES
//	cd shaders && go run gen.go -check   # rebuilds into a temporary folder and compares byte for byte
//
// A kernel is one <name>.comp. Each line "//variant NAME: -DFLAG ..." in it adds spv/<name>.<NAME>.spv compiled with
// those flags; a kernel without such a line becomes spv/<name>.spv. A line "//wide" adds each of them compiled with
// -DWIDE too, under its name and "_wide".
package main

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
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
	if check {
		return compare(modules, manifest)
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
			if rest, ok := strings.CutPrefix(line, "//variant "); ok {
				name, flags, _ := strings.Cut(rest, ":")
				own = append(own, module{f, kernel + "." + strings.TrimSpace(name), strings.Fields(flags)})
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
