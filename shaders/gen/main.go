// Gen compiles every kernel of the folder that it runs in, shaders or tools/internal/benchcmd, to SPIR-V with glslc:
//
//	go generate ./shaders           # writes spv/*.spv and spv/SOURCES
//	cd shaders && go run ./gen -check   # rebuilds into a temporary folder and compares byte for byte
//
// A kernel is one <name>.comp, which becomes spv/<name>.spv, or a module <name>.<variant>.spv for each variant that its lines
// name: "//types f32 b16_f32" one that reads and writes f32, and one that reads values of 16 bits and writes f32, compiled with
// -DB16 for what is read and -DTO_B16 for what is written; "//types" f32 and b16; "//types NAME: -DFLAG ..." f32_NAME and b16_NAME,
// with those flags too. A line "//wide" adds each of those above it compiled with -DWIDE too, under its name and "_wide".
//
// glslc compiles and spirv-opt makes the modules smaller, without loops unrolled and functions inlined: drivers do that.
//
// A kernel with a line "//newer" wants a newer glslc than Debian 12's, one that knows cooperative matrices of bf16: $LEMNOS_GLSLC,
// or that of the chroot tools/scripts/chroot.sh sid. Where there is neither its modules stay as they are, and a change of its
// source is an error. Its types f16 and bf16 are modules of their own, with -DIS_BF16=0 or 1, since GLSL has types for them, and
// glslc optimizes them; f16split and bf16split read and write f32, and multiply it in pieces of such values.
//
// Where there is a constants.go it writes that too, which has the ids of the specialization constants under the names that sources give them,
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
	source string   // "unary.comp"
	output string   // "unary.b16.spv"
	flags  []string // "-DB16"
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
	optimizer, err := exec.Command("spirv-opt", "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("spirv-opt --version: %w (Debian: apt install spirv-tools)", err)
	}
	glslc.version += ", spirv-opt of " + strings.TrimSpace(string(optimizer))
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
	if err := updateConstants(check); err != nil {
		return err
	}
	if check {
		return compare(modules, glslc, newer, committed, manifest)
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

// findModules reads the lines of every kernel that name variants.
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
		own := []module{{source: f, output: kernel}}
		newer := false
		for _, line := range strings.Split(string(text), "\n") {
			newer = newer || line == "//newer"
			switch list := variants(kernel, line); {
			case line == "//wide":
				for _, m := range own {
					own = append(own, module{f, m.output + "_wide", append(slices.Clone(m.flags), "-DWIDE"), false})
				}
			case list == nil:
			case own[0].output == kernel:
				own = list
			default:
				own = append(own, list...)
			}
		}
		for _, m := range own {
			all = append(all, module{f, m.output + ".spv", m.flags, newer})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no *.comp here: run this in the shaders folder")
	}
	return all, nil
}

// typeFlags are those of a storage type of what a kernel reads.
var typeFlags = map[string][]string{"b16": {"-DB16"}, "f16": {"-DB16", "-DIS_BF16=0"}, "bf16": {"-DB16", "-DIS_BF16=1"},
	"f16split": {"-DIS_BF16=0"}, "bf16split": {"-DIS_BF16=1"}}

// variants are those that a line of a kernel names.
func variants(kernel, line string) (list []module) {
	rest, ok := strings.CutPrefix(line, "//types")
	if !ok {
		return nil
	}
	types, suffix := strings.Fields(rest), ""
	name, flags, ok := strings.Cut(rest, ":")
	if ok {
		types, suffix = nil, "_"+strings.TrimSpace(name)
	}
	if len(types) == 0 {
		types = []string{"f32", "b16"}
	}
	for _, t := range types {
		from, to, two := strings.Cut(t, "_")
		m := module{source: kernel + ".comp", output: kernel + "." + t + suffix, flags: slices.Concat(typeFlags[from], strings.Fields(flags))}
		if strings.HasSuffix(to, "16") || !two && strings.HasSuffix(from, "16") {
			m.flags = append(m.flags, "-DTO_B16")
		}
		list = append(list, m)
	}
	return list
}

// passes of spirv-opt: values instead of variables, nothing unused, no names.
var passes = []string{"--strip-debug", "--eliminate-local-single-block", "--eliminate-local-single-store", "--ssa-rewrite",
	"--redundancy-elimination", "--eliminate-dead-code-aggressive"}

// compileAll makes as many modules at a time as there are processors, and returns the first kernel's error by name.
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
			errs[i] = m.compile(glslc, newer, dir)
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

func (m module) compile(glslc, newer *compiler, dir string) error {
	file, command, optimize := filepath.Join(dir, m.output), glslc.command, "-O0"
	if m.newer {
		command, optimize = newer.command, "-O"
	}
	args := append(slices.Clone(command[1:]), "-fshader-stage=compute", "--target-env=vulkan1.1", optimize, "-Werror", "-I.")
	args = append(append(args, m.flags...), m.source, "-o", file)
	out, err := exec.Command(command[0], args...).CombinedOutput()
	if err == nil && !m.newer {
		out, err = exec.Command("spirv-opt", append(slices.Clone(passes), file, "-o", file)...).CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", m.output, err, out)
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

// matches are the files that any of the patterns matches.
func matches(patterns ...string) (files []string, err error) {
	for _, p := range patterns {
		some, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		files = append(files, some...)
	}
	return files, nil
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
	files, err := matches("*.comp", "lib/*", "gen/*.go")
	if err != nil {
		return nil, err
	}
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
		return fmt.Errorf("spv/SOURCES is stale: run go generate here")
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
			return fmt.Errorf("spv/%s differs from what glslc makes: run go generate here", m.output)
		}
	}
	return nil
}
