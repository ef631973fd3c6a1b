package ops_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Factors in two pieces of f16 are nearly f32, in one they are f16; with bf16, which no processor's driver multiplies, the same
// kernel runs. Matrix cores need not round their sums to the nearest f32: on an H200 k = 600 is off by 1.1e-6, on lavapipe by less than 1e-6.
func TestMatMulPrecision(t *testing.T) {
	dev := vktest.Open(t)
	if !slices.ContainsFunc(dev.Info().Caps.Matrices, func(m vk.Matrix) bool { return !m.BF16 }) {
		t.Skip("the device has no cooperative matrices of f16")
	}
	for _, c := range []struct{ batch, m, n, k, groups int }{{1, 65, 70, 19, 100}, {2, 20, 24, 600, 6}} {
		for p, tol := range map[string]float64{"high": 4e-6, "medium": 5e-4} {
			t.Run(fmt.Sprint(c, p), func(t *testing.T) { // its gradients are products of the other forms
				checkProduct(t, dev, "nn", ops.F32, c.batch, c.m, c.n, c.k, tol, func(g *ops.Graph) { ops.UseSplit(g, p, c.groups) })
			})
		}
	}
	for _, k := range dev.Kernels() {
		if strings.HasPrefix(k.Name(), "matmul_") && k.Name() != "matmul_coop.f16split" {
			t.Errorf("%v ran", k)
		}
	}
	if !slices.ContainsFunc(dev.Kernels(), func(k *vk.Kernel) bool { return k.Name() == "matmul_coop.f16split" }) {
		t.Error("the kernel did not run")
	}
}

// Less than f32 is never silent: nobody asked here, and where there are no matrices of bf16 to ask for, nothing changes.
func TestMatMulPrecisionIsAskedFor(t *testing.T) {
	t.Setenv("LEMNOS_MATRIX_CORES", "on")
	dev := vktest.Open(t)
	bf16 := slices.ContainsFunc(dev.Info().Caps.Matrices, func(m vk.Matrix) bool { return m.BF16 })
	av, bv := random(ops.F32, 1, 40*40), random(ops.F32, 2, 40*40)
	a, b := tensor(t, dev, ops.F32, []int{40, 40}, av), tensor(t, dev, ops.F32, []int{40, 40}, bv)
	split := func(p string) bool {
		g := ops.NewGraph(dev)
		defer g.Release()
		if p != "" {
			g.SetMatMulPrecision(p)
		}
		g.MatMul(a, b)
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(ops.Kernels(g), func(name string) bool { return strings.HasSuffix(name, "split") })
	}
	for _, p := range []string{"", "highest", "high", "medium"} {
		if got, want := split(p), bf16 && (p == "high" || p == "medium"); got != want {
			t.Errorf("%q: factors are cut is %v, want %v", p, got, want)
		}
	}
	g := ops.NewGraph(dev)
	defer g.Release()
	g.SetMatMulPrecision("tf32")
	if _, err := g.Compile(); err == nil || !strings.Contains(err.Error(), "tf32") {
		t.Errorf("precision tf32: %v", err)
	}
}
