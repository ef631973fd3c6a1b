package ops_test

import (
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// TestCompileNamesFirstKernel: Plan compiles nothing; of kernels that the driver refuses, Compile names the operation that
// comes first in the graph, and where it was called. Later the same may be compiled.
func TestCompileNamesFirstKernel(t *testing.T) {
	d := vktest.Open(t)
	build := func() *ops.Graph {
		g := ops.NewGraph(d)
		x := g.Input("x", ops.F32, 4, 4)
		g.Output(g.Softmax(g.Sub(g.Tanh(x), x)))
		return g
	}
	before := vktest.Pipelines()
	planned := build()
	if _, err := planned.Plan(); err != nil {
		t.Fatal(err)
	}
	if after := vktest.Pipelines(); after != before {
		t.Errorf("Plan compiled %d kernels", after-before)
	}
	t.Run("refused", func(t *testing.T) {
		vktest.Limit(t, vktest.Limits{Local: [3]uint32{1, 1, 1}}) // what the device says was read before
		defer vktest.Violation()
		for _, g := range []*ops.Graph{planned, build()} {
			_, err := g.Compile()
			if err == nil || !strings.HasPrefix(err.Error(), "ops: tanh: vk: vkCreateComputePipelines (kernel unary.f32") ||
				!strings.Contains(err.Error(), "(at compile_kernels_test.go:") {
				t.Errorf("error %v", err)
			}
		}
	})
	s, err := build().Compile()
	if err != nil {
		t.Fatalf("tried again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A step that trains leaves out the kernels of calls that others stand for, though Backward looked at them too.
func TestReplacedKernelsAreNotCompiled(t *testing.T) {
	dev := vktest.Open(t)
	p := ops.NewParams(dev, ops.F32)
	w, head := p.Add("w", 64, 64), p.Add("head", 64, 64)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	g := ops.NewGraph(dev)
	x, ids := g.Input("x", ops.F32, 32, 64), g.Input("ids", ops.U32, 32)
	loss := g.LinearCrossEntropy(g.Add(g.Linear(x, w, nil), x), head, ids, nil) // the sum is made in the product's store
	g.Backward(loss, nil)
	if _, err := g.Plan(); err != nil {
		t.Fatal(err)
	}
	compiled := 0
	if err := dev.Compile(ctx, func(int, int) { compiled++ }); err != nil {
		t.Fatal(err)
	}
	if all := len(dev.Kernels()); compiled == 0 || compiled >= all {
		t.Errorf("%d of %d kernels compiled, want all but those of the product and of the sum", compiled, all)
	}
}
