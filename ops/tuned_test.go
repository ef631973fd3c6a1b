package ops_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Each tile can be divided among the subgroups of the most common GPU, and has its memory.
func TestTuneChoicesFit(t *testing.T) {
	for choice, fits := range ops.TuneChoices() {
		if !fits {
			t.Errorf("%v does not fit 32 invocations per subgroup and 48 KiB of shared memory", choice)
		}
	}
}

// What Tune chose is what the products of other graphs and processes run with, and their results stay as they are.
func TestTune(t *testing.T) {
	t.Setenv("LEMNOS_MATRIX_CORES", "on")
	t.Setenv("LEMNOS_CACHE", t.TempDir())
	only := ops.TileChoice{M: 64, N: 64, Local: 128, Step: 16}
	defer ops.TuneAmong(only)()
	dev := vktest.Open(t)
	path := dev.CachePath("tuned")
	t.Cleanup(ops.ForgetTuned)
	cores := ops.CheckMatrixCores(dev)
	found, err := ops.Tune(context.Background(), dev)
	if err != nil {
		t.Fatal(err)
	}
	if len(cores) == 0 {
		if _, err := os.Stat(path); len(found) != 0 || err == nil {
			t.Errorf("without matrix cores Tune found %v, its file: %v", found, err)
		}
		return
	}
	if len(found) != 3*len(cores)/2 { // the forms of each type; cores has attention too
		t.Errorf("Tune found %v for %v", found, cores)
	}
	for _, f := range found {
		if !strings.HasPrefix(f.Why, "tiles of "+only.String()+", ") || !strings.HasSuffix(f.Why, " times as fast as untuned") {
			t.Errorf("found %+v", f)
		}
	}
	for _, again := range []bool{false, true} { // in this process, and as another reads it
		if again {
			ops.ForgetTuned()
		}
		before := len(tunedKernels(dev))
		dt := cores[0].DType
		checkProduct(t, dev, "nt", dt, 1, 130, 140, 40, 1e-6, func(*ops.Graph) {})
		if after := tunedKernels(dev); len(after) == 0 || again && len(after) != before {
			t.Errorf("kernels with the tile: %v", after)
		}
	}
	if left, err := filepath.Glob(path + ".tmp*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What is not a choice, or not even JSON, is as if it was not there.
func TestTunedFileIsNotTrusted(t *testing.T) {
	t.Setenv("LEMNOS_MATRIX_CORES", "on")
	t.Setenv("LEMNOS_CACHE", t.TempDir())
	dev := vktest.Open(t)
	t.Cleanup(ops.ForgetTuned)
	for _, text := range []string{"", "{", "[1]", `{"f16 nt": {"M": 64, "N": 64, "Local": 8, "Step": 16}}`, `{"f16 nt": {"M": 4294967295, "N": 64, "Local": 128, "Step": 0}}`, `{"f16 nt": {"M": 0}}`, `{"f32 nt": null}`} {
		ops.ForgetTuned()
		if err := os.WriteFile(dev.CachePath("tuned"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		g := ops.NewGraph(dev)
		if n := ops.TunedCount(g); n != 0 {
			t.Errorf("%q: %d tiles", text, n)
		}
		g.Release()
	}
}

// tunedKernels are those of the device with TestTune's step.
func tunedKernels(dev *vk.Device) (names []string) {
	for _, k := range dev.Kernels() {
		if strings.HasPrefix(k.Name(), "matmul_coop") && k.LocalSize()[0] == 128 {
			names = append(names, k.String())
		}
	}
	return names
}
