// Gen compiles every kernel of this folder to SPIR-V with glslc:
//
//	go generate ./shaders           # writes spv/*.spv and spv/SOURCES
//	cd shaders && go run ./gen -check   # rebuilds into a temporary folder and compares byte for byte
//
// A kernel is one <name>.comp. Each line "//variant NAME: -DFLAG ..." in it adds spv/<name>.<NAME>.spv compiled with
// those flags; "//types" stands for three of them, f32, f16 with -DF16 and bf16 with -DBF16, and "//types NAME: -DFLAG ..." for
// f32_NAME and so on, with the flags too. A kernel without such lines becomes spv/<name>.spv. A line "//wide" adds each of
// them compiled with -DWIDE too, under its name and "_wide".
//
// A kernel with a line "//newer" wants a newer glslc than Debian 12's, one that knows cooperative matrices of bf16: $LEMNOS_GLSLC,
// or that of the chroot tools/scripts/chroot.sh sid. Where there is neither its modules stay as they are, and a change of its
// source is an error.
//
// It also writes constants.go, which has the ids of the specialization constants under the names that sources give them,
// and the values that sources name: "layout(constant_id = 10) const uint S4" is SpecS4 = 10, "const uint CAUSAL = 0, WINDOW = 1"
// is Causal and Window.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
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
	newer  bool     // it needs the newer compiler
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
	all, err := findModules()
	if err != nil {
		return err
	}
	modules := all
	glslc, err := newCompiler("glslc")
	if err != nil {
		return fmt.Errorf("%w (Debian: apt install glslc)", err)
	}
	newer, err := newerCompiler()
	if err != nil {
		return err
	}
	committed, err := os.ReadFile("spv/SOURCES")
	if err != nil {
		return err
	}
	if newer == nil || check && !bytes.Contains(committed, []byte("\nnewer: "+newer.version+"\n")) {
		if modules, err = withoutNewer(modules, committed); err != nil {
			return err
		}
	}
	manifest, err := sources(glslc, newer, committed)
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
		return compare(modules, glslc, newer, committed, manifest)
	}
	if err := os.WriteFile("constants.go", names, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll("spv", 0o755); err != nil {
		return err
	}
	if err := compileAll(modules, glslc, newer, "spv"); err != nil {
		return err
	}
	if err := removeStale(all); err != nil {
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
		wide, newer := false, false
		for _, line := range strings.Split(string(text), "\n") {
			wide = wide || line == "//wide"
			newer = newer || line == "//newer"
			for _, v := range variants(line) {
				own = append(own, module{f, kernel + "." + v.name, v.flags, false})
			}
		}
		if len(own) == 0 {
			own = []module{{f, kernel, nil, false}}
		}
		for _, m := range own {
			all = append(all, module{f, m.output + ".spv", m.flags, newer})
			if wide {
				all = append(all, module{f, m.output + "_wide.spv", append(slices.Clone(m.flags), "-DWIDE"), newer})
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
func compileAll(modules []module, glslc, newer *compiler, dir string) error {
	errs := make([]error, len(modules))
	slots := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, m := range modules {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			command := glslc.command
			if m.newer {
				command = newer.command
			}
			args := append(slices.Clone(command[1:]), "-fshader-stage=compute", "--target-env=vulkan1.1", "-O", "-Werror", "-I.")
			args = append(args, m.flags...)
			args = append(args, m.source, "-o", filepath.Join(dir, m.output))
			if out, err := exec.Command(command[0], args...).CombinedOutput(); err != nil {
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

// sources is the content of spv/SOURCES: the versions of the compilers and the SHA-256 of everything the modules are made
// from, sorted. It proves freshness where there is no glslc. Without the newer one its version is what was committed.
func sources(glslc, newer *compiler, committed []byte) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "compiler: %s\n", glslc.version)
	if newer != nil {
		fmt.Fprintf(&b, "newer: %s\n", newer.version)
	} else {
		b.Write(regexp.MustCompile("(?m)^newer: .*\n").Find(committed))
	}
	files, err := filepath.Glob("*.comp")
	if err != nil {
		return nil, err
	}
	lib, err := filepath.Glob("lib/*")
	if err != nil {
		return nil, err
	}
	own, err := filepath.Glob("gen/*.go")
	if err != nil {
		return nil, err
	}
	files = slices.Concat(files, lib, own)
	sort.Strings(files)
	for _, f := range files {
		line, err := sourceLine(f)
		if err != nil {
			return nil, err
		}
		b.WriteString(line)
	}
	return b.Bytes(), nil
}

// compare rebuilds everything elsewhere and reports the first difference from spv/.
func compare(modules []module, glslc, newer *compiler, committed, manifest []byte) error {
	if !bytes.HasPrefix(committed, []byte("compiler: "+glslc.version+"\n")) {
		return fmt.Errorf("spv/ was made by another compiler than %s, bytes cannot be compared", glslc.version)
	}
	hashes := func(m []byte) []byte { return regexp.MustCompile("(?m)^(compiler|newer): .*\n").ReplaceAll(m, nil) }
	if !bytes.Equal(hashes(committed), hashes(manifest)) {
		return fmt.Errorf("spv/SOURCES is stale: run go generate ./shaders")
	}
	tmp, err := os.MkdirTemp("", "shaders")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := compileAll(modules, glslc, newer, tmp); err != nil {
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
