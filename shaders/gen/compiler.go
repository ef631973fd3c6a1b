package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// compiler is a glslc.
type compiler struct {
	command []string
	version string // of it and its parts
}

// newCompiler asks a glslc, a command, for its version.
func newCompiler(command ...string) (*compiler, error) {
	out, err := exec.Command(command[0], append(slices.Clone(command[1:]), "--version")...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", strings.Join(command, " "), err)
	}
	var parts []string
	for _, line := range strings.Split(string(out), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Target:") {
			parts = append(parts, line)
		}
	}
	return &compiler{command, strings.Join(parts, ", ")}, nil
}

// newerCompiler is the one for kernels with "//newer", nil where there is none.
func newerCompiler() (*compiler, error) {
	if path := os.Getenv("LEMNOS_GLSLC"); path != "" {
		return newCompiler(path)
	}
	chroots := cmp.Or(os.Getenv("LEMNOS_CHROOTS"), "/var/cache/lemnos")
	if _, err := os.Stat(filepath.Join(chroots, "sid", "usr", "bin", "glslc")); err != nil {
		return nil, nil
	}
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	script := filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "tools", "scripts", "chroot.sh")
	return newCompiler(script, "sid", "glslc")
}

var include = regexp.MustCompile(`(?m)^#include "([^"]+)"`)

// withoutNewer leaves out the modules for the newer compiler, whose sources must be as SOURCES has them.
func withoutNewer(modules []module, committed []byte) ([]module, error) {
	var kept []module
	for _, m := range modules {
		if !m.newer {
			kept = append(kept, m)
			continue
		}
		text, err := os.ReadFile(m.source)
		if err != nil {
			return nil, err
		}
		files := []string{m.source}
		for _, i := range include.FindAllSubmatch(text, -1) {
			files = append(files, string(i[1]))
		}
		for _, f := range files {
			line, err := sourceLine(f)
			if err != nil {
				return nil, err
			}
			if !bytes.Contains(committed, []byte(line)) {
				return nil, fmt.Errorf("%s changed, of which spv/%s is made by a newer glslc: set LEMNOS_GLSLC to one, or build its chroot, tools/scripts/chroot.sh sid", f, m.output)
			}
		}
	}
	return kept, nil
}

// sourceLine is a file's line in SOURCES.
func sourceLine(file string) (string, error) {
	text, err := os.ReadFile(file)
	return fmt.Sprintf("%x  %s\n", sha256.Sum256(text), filepath.ToSlash(file)), err
}
