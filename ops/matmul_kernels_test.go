package ops_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// checkProduct compares a product of batch pairs of matrices, and its gradients,
// with the reference: the tolerance is that of f32. set changes the graph first.
func checkProduct(t *testing.T, dev *vk.Device, kind string, dt ops.DType, batch, m, n, k int, tol float64, set func(*ops.Graph)) {
	t.Helper()
	av, bv, dv := random(dt, 30, batch*m*k), random(dt, 31, batch*k*n), random(dt, 32, batch*m*n)
	var y64, da64, db64 []float64
	for i := range batch {
		a, b, d := av[i*m*k:(i+1)*m*k], bv[i*k*n:(i+1)*k*n], dv[i*m*n:(i+1)*m*n]
		da, db := opstest.MatMulBackward64(kind, a, b, d, m, n, k)
		y64, da64, db64 = append(y64, opstest.MatMul64(kind, a, b, m, n, k)...), append(da64, da...), append(db64, db...)
	}
	sa, sb := factorShapes(kind, m, n, k)
	sd := []int{m, n}
	if batch > 1 {
		sa, sb, sd = append([]int{batch}, sa...), append([]int{batch}, sb...), append([]int{batch}, sd...)
	}
	a, b := tensor(t, dev, dt, sa, av), tensor(t, dev, dt, sb, bv)
	g := ops.NewGraph(dev)
	set(g)
	g.RequireGrad(a)
	g.RequireGrad(b)
	y := product(g, kind, a, b)
	if !slices.Equal(y.Shape(), sd) {
		t.Fatalf("shape is %v, want %v", y.Shape(), sd)
	}
	ops.BackwardFrom(g, y, tensor(t, dev, dt, sd, dv), false)
	g.Output(y)
	g.Output(g.Grad(a))
	g.Output(g.Grad(b))
	run(t, g)
	if dt != ops.F32 {
		tol = 1.01 * opstest.Epsilon(dt.String())
	}
	for name, pair := range map[string]struct {
		have *ops.Tensor
		want []float64
	}{"product": {y, y64}, "d a": {g.Grad(a), da64}, "d b": {g.Grad(b), db64}} {
		if e := opstest.RelL2(values(t, pair.have), pair.want); e > tol {
			t.Errorf("%s: relative error %g, want %g at most", name, e, tol)
		}
	}
}

func TestMatMulBatched(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, size := range [][4]int{{2, 1, 1, 1}, {3, 5, 7, 3}, {2, 17, 34, 9}} {
		for _, kind := range []string{"nn", "nt", "tn"} {
			for _, dt := range floats {
				t.Run(fmt.Sprint(kind, size, dt), func(t *testing.T) {
					checkProduct(t, dev, kind, dt, size[0], size[1], size[2], size[3], 1e-6, func(*ops.Graph) {})
				})
			}
		}
	}
}

// The GPU's way: tiles of each size, a workgroup's and less, several, and parts of k.
func TestMatMulSharedTiles(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range []struct{ batch, m, n, k, cores, edge, parts int }{
		{1, 9, 1, 1, 1, 32, 1}, {1, 65, 70, 147, 100, 32, 1}, {3, 32, 64, 64, 2, 32, 1}, {2, 10, 13, 2050, 16, 32, 8},
		{1, 130, 67, 97, 6, 64, 1}, {1, 64, 64, 2000, 2, 64, 4}, {1, 129, 67, 37, 1, 128, 1}, {1, 256, 140, 16, 1, 128, 1},
	} {
		if edge, parts := ops.SharedPlan(c.cores, c.m, c.n, c.k, c.batch); edge != c.edge || parts != c.parts {
			t.Errorf("%+v runs in tiles of %d and %d parts", c, edge, parts)
		}
		for _, kind := range []string{"nn", "nt", "tn"} {
			for _, dt := range floats {
				t.Run(fmt.Sprint(kind, c, dt), func(t *testing.T) {
					checkProduct(t, dev, kind, dt, c.batch, c.m, c.n, c.k, 1e-6, func(g *ops.Graph) { ops.UseSharedTiles(g, c.cores) })
				})
			}
		}
	}
}

// The way of devices with small workgroups: each invocation reads what it multiplies.
func TestMatMulPlainTiles(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range []struct{ batch, m, n, k int }{{1, 9, 1, 1}, {1, 65, 70, 19}, {2, 10, 13, 600}} {
		for _, kind := range []string{"nn", "nt", "tn"} {
			for _, dt := range floats {
				t.Run(fmt.Sprint(kind, c, dt), func(t *testing.T) {
					checkProduct(t, dev, kind, dt, c.batch, c.m, c.n, c.k, 1e-6, ops.UsePlainTiles)
				})
			}
		}
	}
}

// An H200 has 132 cores. Large products fill them with large tiles, and small ones with small tiles rather than with parts,
// whose sum is another dispatch; where workgroups are a few more than the cores, parts make them many more.
func TestMatMulSharedPlan(t *testing.T) {
	for _, c := range []struct{ cores, m, n, k, edge, parts int }{
		{132, 4096, 4096, 4096, 128, 1}, {132, 8192, 2304, 768, 128, 1}, {132, 128, 3072, 576, 32, 1},
		{132, 768, 128, 128, 32, 1}, {132, 128, 128, 768, 32, 3}, {132, 128, 576, 576, 32, 1}, {132, 512, 512, 512, 32, 1},
		{132, 3072, 768, 8192, 128, 7}, {132, 1024, 768, 50257, 128, 11}, {132, 2048, 576, 1536, 128, 3},
		{64, 3072, 768, 8192, 64, 1}, {16, 512, 512, 512, 128, 1}, {16, 50257, 768, 1024, 128, 1},
	} {
		if edge, parts := ops.SharedPlan(c.cores, c.m, c.n, c.k, 1); edge != c.edge || parts != c.parts {
			t.Errorf("%+v runs in tiles of %d and %d parts", c, edge, parts)
		}
	}
}

// Tiles of every size fit in the least shared memory that Vulkan promises.
func TestMatMulSmallSharedMemory(t *testing.T) {
	vktest.Limit(t, vktest.Limits{GPU: true, SharedMemory: 16384})
	dev := vktest.Open(t)
	for edge, c := range map[int][4]int{128: {1, 256, 140, 16}, 64: {6, 130, 67, 97}, 32: {100, 65, 70, 147}} {
		if got, _ := ops.SharedPlan(c[0], c[1], c[2], c[3], 1); got != edge {
			t.Errorf("%v runs in tiles of %d, want %d", c, got, edge)
		}
		checkProduct(t, dev, "nn", ops.F32, 1, c[1], c[2], c[3], 1e-6, func(g *ops.Graph) { ops.UseSharedTiles(g, c[0]) })
	}
}

// The way of GPUs with matrix cores: as above, and k in several passes; lines that start at a multiple of eight values and
// others.
func TestMatMulMatrices(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	if len(dev.Info().Caps.Matrices) == 0 {
		t.Skip("the device has no cooperative matrices")
	}
	for _, c := range []struct{ batch, m, n, k, groups int }{
		{1, 17, 17, 17, 1}, {1, 65, 70, 19, 100}, {1, 129, 67, 37, 1}, {2, 20, 23, 600, 6}, {1, 70, 29, 33, 1}, {3, 72, 64, 96, 1}, {1, 200, 136, 264, 1}, {1, 128, 192, 96, 1}, {2, 64, 64, 512, 8},
	} {
		for _, kind := range []string{"nn", "nt", "tn"} {
			for _, dt := range []ops.DType{ops.F16, ops.BF16} {
				t.Run(fmt.Sprint(kind, c, dt), func(t *testing.T) {
					checkProduct(t, dev, kind, dt, c.batch, c.m, c.n, c.k, 1e-6, func(g *ops.Graph) { ops.UseMatrices(g, c.groups) })
				})
			}
		}
	}
}

// Tiles and parts of k fill the waves of workgroups that an H200 runs at a time: 264 of the large ones.
func TestMatMulMatricesPlan(t *testing.T) {
	for _, c := range []struct{ m, n, k, rows, parts int }{
		{4096, 4096, 4096, 128, 1}, {8192, 2304, 768, 128, 1}, {8192, 50257, 768, 128, 1}, {8192, 768, 2304, 128, 1},
		{2304, 768, 8192, 128, 2}, {768, 768, 8192, 128, 7},
	} {
		if rows, parts := ops.CoopPlan(132, c.m, c.n, c.k); rows != c.rows || parts != c.parts {
			t.Errorf("(%d, %d), k = %d: tiles of %d rows and %d parts, want %d and %d", c.m, c.n, c.k, rows, parts, c.rows, c.parts)
		}
	}
	if rows, parts := ops.CoopPlan(132, 3072, 768, 8192); rows != 128 || parts < 5 || parts > 7 {
		t.Errorf("d w of GPT-2's first layer: tiles of %d rows and %d parts, 5 to 7 are 1.4 times as fast as 1 or 2", rows, parts)
	}
}

// The processor's way: a subgroup's tile and less, several, rows and columns that end
// within a lane's part, and parts of k.
func TestMatMulLaneTiles(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, c := range []struct{ batch, m, n, k int }{{1, 17, 20, 1}, {1, 65, 70, 19}, {1, 34, 67, 37}, {2, 40, 33, 600}} {
		for _, kind := range []string{"nn", "nt", "tn"} {
			for _, dt := range floats {
				t.Run(fmt.Sprint(kind, c, dt), func(t *testing.T) {
					checkProduct(t, dev, kind, dt, c.batch, c.m, c.n, c.k, 1e-6, ops.UseLaneTiles)
				})
			}
		}
	}
}

// Few rows, as in decoding.
func TestMatMulFewRows(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, m := range []int{1, 2, 3, 5, 8} {
			t.Run(fmt.Sprint(dt, m), func(t *testing.T) { checkProduct(t, dev, "nt", dt, 1, m, 13, 75, 1e-6, func(*ops.Graph) {}) })
		}
		t.Run(fmt.Sprint(dt, "batch"), func(t *testing.T) { checkProduct(t, dev, "nt", dt, 3, 4, 6, 9, 1e-6, func(*ops.Graph) {}) })
	}
}

// More values of k than lavapipe has passes for a loop, and so long sums that their
// order shows.
func TestMatMulLongK(t *testing.T) {
	dev := vktest.Open(t)
	for _, kind := range []string{"nn", "nt", "tn"} {
		checkProduct(t, dev, kind, ops.F32, 1, 9, 2, 70001, 1e-5, func(*ops.Graph) {})
	}
}
