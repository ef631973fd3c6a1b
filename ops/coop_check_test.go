package ops_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// With LEMNOS_MATRIX_CORES=on all tests of products and attention go through cooperative matrices, where the device has any.
func TestMatrixCoresOn(t *testing.T) {
	t.Setenv("LEMNOS_MATRIX_CORES", "on")
	dev := vktest.Open(t)
	cores := ops.CheckMatrixCores(dev)
	if len(cores) == 0 {
		t.Skip("the device has no cooperative matrices of 16-bit floats")
	}
	for _, c := range cores {
		checkProduct(t, dev, "nt", c.DType, 1, 40, 40, 40, 1e-6, func(*ops.Graph) {})
		attend(t, dev, c.DType, opstest.AttentionShape{Batch: 1, Positions: 40, Heads: 2, KVHeads: 1, Size: 32}, 1, false).check(t, attentionTolerance(c.DType))
		for _, kernel := range []string{"matmul_coop", "attention_coop", "attention_coop_dq", "attention_coop_dkv"} {
			name := kernel + "." + c.DType.String()
			i := slices.IndexFunc(dev.Kernels(), func(k *vk.Kernel) bool { return strings.HasPrefix(k.Name(), name) })
			if i < 0 {
				t.Errorf("%s did not run", name)
				continue
			}
			few := c.Matrix.M < 16 && dev.Info().Kind != vk.CPU
			want, _ := ops.CoopAttentionBytes(dev.Info().Caps, c.Matrix, strings.Replace(kernel, "_coop", "", 1), 32, few)
			if got := dev.Kernels()[i].SharedMemory(); kernel != "matmul_coop" && got != int64(want) {
				t.Errorf("%s has %d bytes of shared memory, planned %d", name, got, want)
			}
		}
	}
}

// Attention runs on the matrices of the GPUs there are, with heads of up to 128 values.
func TestCoopAttentionFits(t *testing.T) {
	for _, gpu := range []struct {
		name string
		m    vk.Matrix
		few  bool
		caps vk.Caps
	}{
		{"NVIDIA", vk.Matrix{M: 16, N: 16, K: 16}, false, vk.Caps{SubgroupSize: 32, MaxInvocations: 1024, SharedMemory: 48 << 10}},
		{"AMD", vk.Matrix{M: 16, N: 16, K: 16}, false, vk.Caps{SubgroupSize: 64, MaxInvocations: 1024, SharedMemory: 64 << 10}},
		{"Intel", vk.Matrix{M: 8, N: 16, K: 16}, true, vk.Caps{SubgroupSize: 32, MaxInvocations: 1024, SharedMemory: 64 << 10}},
		{"Intel, DG2", vk.Matrix{M: 8, N: 8, K: 16}, true, vk.Caps{SubgroupSize: 32, MaxInvocations: 1024, SharedMemory: 64 << 10}},
		{"lavapipe", vk.Matrix{M: 8, N: 8, K: 8}, false, vk.Caps{SubgroupSize: 8, MaxInvocations: 1024, SharedMemory: 32 << 10}},
	} {
		for _, kernel := range []string{"attention", "attention_dq", "attention_dkv"} {
			for size := 1; size <= 128; size++ {
				if bytes, fits := ops.CoopAttentionBytes(gpu.caps, gpu.m, kernel, size, gpu.few); !fits {
					t.Errorf("%s: %s with heads of %d does not fit: %d bytes of shared memory", gpu.name, kernel, size, bytes)
				}
			}
		}
	}
}

// A device that multiplies matrices as slowly as the rest does not get them, however it calls itself; they are right on it.
func TestMatrixCoresChecked(t *testing.T) {
	t.Setenv("LEMNOS_MATRIX_CORES", "")
	vktest.Limit(t, vktest.Limits{GPU: true})
	dev := vktest.Open(t)
	n := 0
	for _, m := range ops.CheckMatrixCores(dev) {
		n++
		if !strings.HasSuffix(m.Why, " times as fast as without") {
			t.Errorf("%s of %v: %s", m.Work, m.DType, m.Why)
		}
		g := ops.NewGraph(dev)
		if used := ops.UsesMatrices(g, m.Work, m.DType); used != m.Used {
			t.Errorf("%s of %v: used is %v, want %v", m.Work, m.DType, used, m.Used)
		}
		g.Release()
	}
	if list := dev.Info().Caps.Matrices; (n == 0) != (len(list) == 0) {
		t.Errorf("%d rows for matrices, the device lists %v", n, list)
	}
}

// What was found out once is what later processes go by.
func TestMatrixCoresKept(t *testing.T) {
	t.Setenv("LEMNOS_MATRIX_CORES", "")
	t.Setenv("LEMNOS_CACHE", t.TempDir())
	vktest.Limit(t, vktest.Limits{GPU: true})
	dev := vktest.Open(t)
	t.Cleanup(ops.ForgetMatrixCores)
	again := func() []ops.MatrixCores {
		ops.ForgetMatrixCores()
		return ops.CheckMatrixCores(dev)
	}
	found, path := again(), dev.CachePath("matrix-cores")
	if len(found) == 0 {
		t.Skip("the device has no cooperative matrices of 16-bit floats")
	}
	var kept map[string]float64
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil || len(kept) != len(found) {
		t.Fatalf("%s is kept of %v: %v", data, found, err)
	}
	if next := again(); !slices.Equal(found, next) {
		t.Errorf("first %v, then %v", found, next)
	}
	for name, factor := range kept {
		kept[name] = 1 / factor // the other way
	}
	if data, err = json.Marshal(kept); err == nil {
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range again() {
		if m.Used == found[i].Used {
			t.Errorf("%s tells %+v", data, m)
		}
	}
	for _, text := range []string{"null", "[", `{"matmul_coop.f16": "x"}`, ""} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, m := range again() {
			if !strings.HasSuffix(m.Why, " times as fast as without") {
				t.Errorf("after %q: %+v", text, m)
			}
		}
	}
}
