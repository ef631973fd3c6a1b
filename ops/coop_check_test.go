package ops_test

import (
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
			if !slices.ContainsFunc(dev.Kernels(), func(k *vk.Kernel) bool { return strings.HasPrefix(k.Name(), name) }) {
				t.Errorf("%s did not run", name)
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
