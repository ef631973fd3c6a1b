package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// Vulkan leaves it to the device which operand max, min and clamp return where one is NaN. The software devices return the NaN
// of most kernels, GPUs the number.
func TestNaNWhereNumbersArePreferred(t *testing.T) {
	vktest.PreferNumbers(t)
	t.Run("activations", TestActivationsExtremes)
	t.Run("functions", TestFunctionsExtremes)
	t.Run("swiglu", TestSwiGLUOfNaN)
	t.Run("softmax", TestSoftmaxExtremes)
	t.Run("cross-entropy", TestSpec1CrossEntropyNonFiniteLogits)
	t.Run("attention", TestAttentionOfNaN)
	t.Run("norms", TestNormOfNonFinite)
	t.Run("argmax", TestArgMax)
}

func TestSwiGLUOfNaN(t *testing.T) {
	dev := vktest.Open(t)
	nan := float32(math.NaN())
	for _, dt := range floats {
		y, dgate, dup := swiglu(t, dev, dt, []int{3}, []float32{nan, 1, 1}, []float32{1, nan, 1}, []float32{1, 1, 1})
		for _, c := range []struct {
			name string
			x    []float32
			want [3]bool
		}{{"y", y, [3]bool{true, true, false}}, {"dgate", dgate, [3]bool{true, true, false}}, {"dup", dup, [3]bool{true, false, false}}} {
			for i, v := range c.x {
				if (v != v) != c.want[i] {
					t.Errorf("%s: %s is %v", dt, c.name, c.x)
					break
				}
			}
		}
	}
}

// A query that is NaN has a result and a gradient of NaN, and no other query has, whatever hides keys. The keys and values that
// it sees have a gradient of NaN, and so may those of its head that it does not see, for which it is multiplied by 0.
func TestAttentionOfNaN(t *testing.T) {
	dev := vktest.Open(t)
	s := opstest.AttentionShape{Batch: 1, Positions: 37, Heads: 2, KVHeads: 2, Size: 8}
	const bad = 20 // of the first head
	shape := []int{s.Batch, s.Positions, s.Heads, s.Size}
	x := [4][]float32{}
	for i := range x {
		x[i] = opstest.Uniform(uint32(210+i), s.Queries(), 2)
	}
	x[0][bad*s.Heads*s.Size] = float32(math.NaN())
	mask := tensor(t, dev, ops.F32, []int{s.Positions, s.Positions}, make([]float32, s.Positions*s.Positions))
	for name, o := range map[string]*ops.AttentionOptions{"causal": nil, "window": {Window: 5}, "cap": {SoftCap: 3}, "mask": {Mask: mask}} {
		for _, way := range []struct {
			dt     ops.DType
			shared bool
		}{{ops.F32, false}, {ops.F32, true}, {ops.F16, true}, {ops.BF16, true}} {
			if way.dt != ops.F32 && name != "causal" && name != "window" {
				continue // what matrix cores do has two kernels more
			}
			t.Run(fmt.Sprint(name, " ", way.dt, " shared ", way.shared), func(t *testing.T) {
				g := ops.NewGraph(dev)
				if way.shared {
					ops.ShareMemory(g)
				}
				in := [4]*ops.Tensor{}
				for i := range in {
					in[i] = tensor(t, dev, way.dt, shape, opstest.Round(way.dt.String(), x[i]))
				}
				for _, w := range in[:3] {
					g.RequireGrad(w)
				}
				y := g.Attention(in[0], in[1], in[2], o)
				ops.BackwardFrom(g, y, in[3], false)
				g.Output(y)
				for _, w := range in[:3] {
					g.Output(g.Grad(w))
				}
				run(t, g)
				itself := func(position int) bool { return position == bad }
				sees := func(j int) bool { return name == "mask" || j <= bad && (name != "window" || j > bad-5) }
				for what, c := range map[string]struct {
					tensor *ops.Tensor
					broken func(position int) bool
				}{"y": {y, itself}, "dq": {g.Grad(in[0]), itself}, "dk": {g.Grad(in[1]), sees}, "dv": {g.Grad(in[2]), sees}} {
					for i, v := range values(t, c.tensor) {
						position, head := i/s.Size/s.Heads, i/s.Size%s.Heads
						if what[0] == 'd' && what != "dq" && head == 0 && !sees(position) {
							continue
						}
						if want := head == 0 && c.broken(position); (v != v) != want {
							t.Fatalf("%s of position %d, head %d is %v, NaN expected: %t", what, position, head, v, want)
						}
					}
				}
			})
		}
	}
}

// The newest query of a sequence, over caches.
func TestAttentionOfNaNWithCaches(t *testing.T) {
	dev := vktest.Open(t)
	const heads, size, capacity = 2, 8, 70
	q, caches := opstest.Uniform(220, heads*size, 2), opstest.Uniform(221, capacity*heads*size, 2)
	q[1] = float32(math.NaN())
	g := ops.NewGraph(dev)
	cache := tensor(t, dev, ops.F32, []int{1, capacity, heads, size}, caches)
	start := tensor(t, dev, ops.U32, []int{4}, []uint32{capacity - 2, 0, 0, 0})
	y := g.Attention(tensor(t, dev, ops.F32, []int{1, 1, heads, size}, q), cache, cache, &ops.AttentionOptions{Start: start, SoftCap: 3})
	g.Output(y)
	run(t, g)
	for i, v := range values(t, y) {
		if (v != v) != (i < size) {
			t.Errorf("value %d is %v", i, v)
		}
	}
}
