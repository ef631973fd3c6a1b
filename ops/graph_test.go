package ops_test

import (
	"context"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/ops/opstest"
	"github.com/lemnos-ml/lemnos/vk"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

var ctx = context.Background()

// tensor uploads values to a new tensor that the test releases.
func tensor[T ops.Number](t testing.TB, dev *vk.Device, dt ops.DType, shape []int, values []T) *ops.Tensor {
	t.Helper()
	x, err := ops.NewTensor(dev, dt, shape...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Release)
	if values != nil {
		if err := ops.Upload(ctx, x, values); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// values downloads a float tensor.
func values(t testing.TB, x *ops.Tensor) []float32 {
	t.Helper()
	out := make([]float32, x.Len())
	if err := ops.Download(ctx, x, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// used names the kernels that tests of this package have compiled, for
// TestEveryKernelIsTested.
var used = map[string]bool{}

// compile compiles g; the test closes the step.
func compile(t testing.TB, g *ops.Graph) *ops.Step {
	t.Helper()
	s, err := g.Compile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, k := range ops.Kernels(g) {
		used[k] = true
	}
	return s
}

// run compiles g, runs it once and waits.
func run(t testing.TB, g *ops.Graph) *ops.Step {
	t.Helper()
	s := compile(t, g)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

var floats = []ops.DType{ops.F32, ops.F16, ops.BF16}

// tolerance is the relative error that one rounding to dt explains.
func tolerance(dt ops.DType) float64 {
	switch dt {
	case ops.F16:
		return 1.0 / 1024
	case ops.BF16:
		return 1.0 / 128
	}
	return 1e-6
}

func TestBigramLearns(t *testing.T) {
	dev := vktest.Open(t)
	const v, b, m = 16, 4, 8
	p := ops.NewParams(dev, ops.F32)
	e := p.Add("table", v, v)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	text := make([]uint16, 400)
	for i := range text {
		text[i] = uint16(i * 3 % v)
	}
	tokens := tensor(t, dev, ops.U16, []int{len(text)}, text)
	g := ops.NewGraph(dev)
	x, y, at := g.Batch(tokens, b, m, 7)
	loss := g.CrossEntropy(g.Embed(e, x), y, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	step := run(t, g)
	if l, err := ops.Item(ctx, loss); err != nil || math.Abs(float64(l)-math.Log(v)) > 1e-5 {
		t.Fatalf("loss of a table of zeros is %v (%v), want log %d = %v", l, err, v, math.Log(v))
	}
	_ = at
	n := testing.AllocsPerRun(50, func() {
		if err := ops.Upload(ctx, at, []uint32{1, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if err := step.Run(); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("staging an input and running allocates %v times, want 0", n)
	}
	if err := step.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	_ = opstest.Round
	t.Logf("%+v", step.Stats())
}
