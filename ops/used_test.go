package ops_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestMain(m *testing.M) { vktest.Main(m, everyKernelIsTested) }

// used has the names of the kernels that tests of this package have compiled. Tests that compile many run in parallel, with
// a device each: lavapipe's compiler has one thread per pipeline.
var used sync.Map

// Every kernel is run by a test of this package, or package optim dispatches it and tests it there. A _wide kernel takes
// the place of the other on lavapipe, and a _long one on SwiftShader, so tests of one are tests of all, there. A run of selected tests,
// or on a device whose lowered limits leave some kernels no room, proves nothing and is let pass. Kernels with cooperative
// matrices are left out where the device has none of their type, and those for the lanes of processors on a GPU.
func everyKernelIsTested() error {
	if os.Getenv("LEMNOS_LIMITS") == "minimum" {
		return nil
	}
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return nil
		}
	}
	dev, err := vk.Open(nil)
	if errors.Is(err, vk.ErrNoDevice) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dev.Close()
	optim, err := source(filepath.Join("..", "optim"))
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range shaders.Names() {
		base, _, _ := strings.Cut(name, ".")
		if !ran(strings.TrimSuffix(strings.TrimSuffix(name, "_wide"), "_long")) && runnable(name, dev.Info()) && !strings.Contains(optim, `"`+base+`.`) && !strings.Contains(optim, `"`+base+`"`) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("no test runs kernels %v", missing)
	}
	return nil
}

// runnable says whether a device has what a kernel wants: cooperative matrices of its type, or lanes that share rows.
func runnable(kernel string, i vk.Info) bool {
	name, variant, _ := strings.Cut(kernel, ".")
	if strings.Contains(name, "_lanes") {
		return ops.UsesLanes(i)
	}
	return !strings.Contains(name+"_", "_coop_") || slices.ContainsFunc(i.Caps.Matrices, func(m vk.Matrix) bool { return m.BF16 == strings.HasPrefix(variant, "bf16") })
}

// ran reports whether tests have run the kernels of a module: one with values of 16 bits in f16 and in bf16, unless these are
// the same to it.
func ran(module string) bool {
	types := map[string]bool{}
	used.Range(func(kernel, _ any) bool {
		if m, _ := shaders.Module(kernel.(string)); strings.TrimSuffix(m, "_long") == module {
			for _, t := range []string{"f16", "bf16"} {
				same := kernel == m
				types[t] = types[t] || same || strings.Contains(kernel.(string), "."+t) || strings.Contains(kernel.(string), "_"+t)
			}
		}
		return true
	})
	return types["f16"] && types["bf16"]
}

// source returns the Go files of a package without its tests.
func source(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}
