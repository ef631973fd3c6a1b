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
