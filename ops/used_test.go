package ops_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// Every kernel is run by a test above, or package optim dispatches it and tests
// it there. A _wide kernel takes the place of the other on lavapipe, so tests of one
// are tests of both, there and on SwiftShader. The
// file's name puts this test last; a run of selected tests proves
// nothing and is let pass.
func TestEveryKernelIsTested(t *testing.T) {
	vktest.Open(t)
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" {
		return
	}
	optim := source(t, filepath.Join("..", "optim"))
	for _, name := range shaders.Names() {
		base, _, _ := strings.Cut(name, ".")
		if !used[strings.TrimSuffix(name, "_wide")] && !strings.Contains(optim, `"`+base+`.`) && !strings.Contains(optim, `"`+base+`"`) {
			t.Errorf("no test runs kernel %s", name)
		}
	}
}

// source returns the Go files of a package without its tests.
func source(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
