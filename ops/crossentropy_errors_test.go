package ops_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// badStep is a loss whose logits are a parameter and whose targets are an
// input, to be set wrongly.
type badStep struct {
	step             *ops.Step
	params           *ops.Params
	table, ids, loss *ops.Tensor
}

func newBadStep(t *testing.T, dev *vk.Device, o *ops.CrossEntropyOptions) *badStep {
	s := &badStep{params: ops.NewParams(dev, ops.F32)}
	s.table = s.params.Add("table", 2, 2, 10)
	if err := s.params.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.params.Release)
	g := ops.NewGraph(dev)
	s.ids = g.Input("targets", ops.I32, 2, 2)
	g.Output(s.ids)
	s.loss = g.CrossEntropy(s.table, s.ids, o)
	g.Backward(s.loss, nil)
	g.Output(s.loss)
	s.step = compile(t, g)
	return s
}

// try runs the step with these targets after filling the gradient with 7.
func (s *badStep) try(t *testing.T, targets ...int32) (grad []float32, err error) {
	t.Helper()
	grad = make([]float32, 40)
	for i := range grad {
		grad[i] = 7
	}
	dst := s.params.Grad(s.table)
	for _, err := range []error{ops.Upload(ctx, dst, grad), ops.Upload(ctx, s.ids, targets), s.step.Run()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	err = s.step.Wait(ctx)
	return values(t, dst), err
}

func TestSpec1CrossEntropyBadTargets(t *testing.T) {
	dev := vktest.Open(t)
	ignore := -100
	s := newBadStep(t, dev, &ops.CrossEntropyOptions{IgnoreIndex: &ignore})
	good, err := s.try(t, 1, 2, -100, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		targets  []int32
		position int
		value    int64
		message  string
	}{
		{[]int32{1, 10, 3, -5}, 1, 10, "index 10 at position 1, want 0 to 9"},
		{[]int32{1, -100, 3, -1}, 3, -1, "index -1 at position 3, want 0 to 9"},
		{[]int32{math.MinInt32, 0, 0, 0}, 0, math.MinInt32, "index -2147483648 at position 0"},
		{[]int32{0, 0, math.MaxInt32, 0}, 2, math.MaxInt32, "index 2147483647 at position 2"},
		{[]int32{-100, -100, -100, -100}, -1, -100, "every target is ignored"},
	} {
		grad, err := s.try(t, c.targets...)
		var bad *ops.BadIndexError
		if !errors.As(err, &bad) {
			t.Fatalf("targets %v: error %v, want a BadIndexError", c.targets, err)
		}
		if bad.Op != "cross-entropy" || bad.Position != c.position || bad.Value != c.value || bad.Limit != 10 {
			t.Errorf("targets %v: %+v, want position %d, value %d, limit 10", c.targets, *bad, c.position, c.value)
		}
		if msg := err.Error(); !strings.Contains(msg, c.message) || !strings.Contains(msg, "crossentropy_errors_test.go:") {
			t.Errorf("targets %v: %q, want %q and this file", c.targets, msg, c.message)
		}
		for i, d := range grad {
			if d != 7 {
				t.Fatalf("targets %v: gradient %d was written", c.targets, i)
			}
		}
		// The next valid run works as if nothing had happened.
		again, err := s.try(t, 1, 2, -100, 9)
		if err != nil {
			t.Fatalf("valid targets after %v: %v", c.targets, err)
		}
		opstest.Close(t, again, good, 0)
	}
}

// In a pipeline of runs the bad one stops those behind it, until Wait tells.
func TestSpec1CrossEntropyBadTargetStopsLaterRuns(t *testing.T) {
	dev := vktest.Open(t)
	s := newBadStep(t, dev, nil)
	if err := errors.Join(ops.Upload(ctx, s.ids, []int32{0, 0, 77, 0}), s.step.Run()); err != nil {
		t.Fatal(err)
	}
	_, err := s.try(t, 1, 2, 3, 4)
	var bad *ops.BadIndexError
	if !errors.As(err, &bad) || bad.Value != 77 || bad.Position != 2 {
		t.Fatalf("error %v, want that of the run before", err)
	}
	if _, err := s.try(t, 1, 2, 3, 4); err != nil {
		t.Error(err)
	}
}

func TestSpec1CrossEntropyBadTargetImmediate(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewImmediate(dev)
	defer g.Release()
	g.CrossEntropy(tensor(t, dev, ops.F32, []int{2, 3}, make([]float32, 6)), tensor(t, dev, ops.I32, []int{2}, []int32{0, 3}), nil)
	var bad *ops.BadIndexError
	if err := g.Err(); !errors.As(err, &bad) || bad.Position != 1 || bad.Value != 3 {
		t.Errorf("error %v, want index 3 at position 1", err)
	}
}

func TestSpec1CrossEntropyShapeErrors(t *testing.T) {
	dev := vktest.Open(t)
	wide := 1 << 32
	for _, c := range []struct {
		name string
		call func(g *ops.Graph)
		want []string
	}{
		{"broadcast", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3, 5), g.Input("y", ops.I32, 1, 3), nil)
		}, []string{"cross-entropy", "f32[2 3 5]", "i32[1 3]", "leading shapes differ"}},
		{"same length", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3, 5), g.Input("y", ops.I32, 6), nil)
		}, []string{"f32[2 3 5]", "i32[6]"}},
		{"scalar", func(g *ops.Graph) { g.CrossEntropy(g.Input("x", ops.F32), g.Input("y", ops.I32), nil) }, []string{"f32[]"}},
		{"types", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.I32, 2, 3), g.Input("y", ops.I32, 2), nil)
		}, []string{"i32[2 3]", "want a float type"}},
		{"float targets", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3), g.Input("y", ops.F32, 2), nil)
		}, []string{"f32[2]", "integer type"}},
		{"V = 0", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 0), g.Input("y", ops.I32, 2), nil)
		}, []string{"f32[2 0]", "dimension 1", "is 0"}},
		{"N = 0", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 0, 3), g.Input("y", ops.I32, 0), nil)
		}, []string{"f32[0 3]", "dimension 0", "is 0"}},
		{"smoothing", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3), g.Input("y", ops.I32, 2), &ops.CrossEntropyOptions{LabelSmoothing: 1.5})
		}, []string{"label smoothing is 1.5"}},
		{"negative smoothing", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3), g.Input("y", ops.I32, 2), &ops.CrossEntropyOptions{LabelSmoothing: -0.5})
		}, []string{"label smoothing is -0.5"}},
		{"nan z-loss", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3), g.Input("y", ops.I32, 2), &ops.CrossEntropyOptions{ZLoss: float32(math.NaN())})
		}, []string{"z-loss is NaN"}},
		{"ignore", func(g *ops.Graph) {
			g.CrossEntropy(g.Input("x", ops.F32, 2, 3), g.Input("y", ops.I32, 2), &ops.CrossEntropyOptions{IgnoreIndex: &wide})
		}, []string{"ignore index 4294967296"}},
		{"linear broadcast", func(g *ops.Graph) {
			g.LinearCrossEntropy(g.Input("h", ops.F32, 2, 3, 8), g.Input("w", ops.F32, 5, 8), g.Input("y", ops.I32, 1, 3), nil)
		}, []string{"linear cross-entropy", "f32[2 3 8]", "i32[1 3]"}},
		{"linear widths", func(g *ops.Graph) {
			g.LinearCrossEntropy(g.Input("h", ops.F32, 6, 8), g.Input("w", ops.F32, 5, 7), g.Input("y", ops.I32, 6), nil)
		}, []string{"f32[6 8]", "f32[5 7]", "widths differ"}},
		{"linear types", func(g *ops.Graph) {
			g.LinearCrossEntropy(g.Input("h", ops.F16, 6, 8), g.Input("w", ops.F32, 5, 8), g.Input("y", ops.I32, 6), nil)
		}, []string{"f16[6 8]", "one float type"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := ops.NewGraph(dev)
			c.call(g)
			_, err := g.Compile()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.want, "crossentropy_errors_test.go:") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}
