package data

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// goSourceBytes is enough text to train on for minutes, and loads at once.
const goSourceBytes = 16 << 20

// generated is how a program's output names itself, see `go help generate`.
// Such files are large, and all alike.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// goSource returns up to 16 MB of the Go standard library's source, found
// through `go env GOROOT`: its files in the order of their paths, tests, commands
// and generated files left out. Text that every Go programmer has at hand.
func goSource() ([]byte, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("data: no -data given and `go env GOROOT` failed: %w", err)
	}
	var text bytes.Buffer
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor" || path == filepath.Join(root, "cmd")):
			return fs.SkipDir
		case text.Len() >= goSourceBytes:
			return fs.SkipAll
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if !generated.Match(b) {
			text.Write(b)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("data: Go source: %w", err)
	}
	if text.Len() == 0 {
		return nil, fmt.Errorf("data: no Go source under %s", root)
	}
	return text.Bytes(), nil
}
