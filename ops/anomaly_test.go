package ops_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// here returns its caller's file and line, plus some lines.
func here(plus int) string {
	_, file, n, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file[strings.LastIndexByte(file, '/')+1:], n+plus)
}

// A value that is not finite is found in the operation that made it, forward
// and backward, with the argument that brought it in, if one did.
func TestRunCheckedNamesTheOperation(t *testing.T) {
	dev := vktest.Open(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	type planted struct {
		weight, input []float32
		seed          float32
	}
	for _, c := range []struct {
		name  string
		plant func(m *planted)
		want  ops.AnomalyError
		at    string // whose line Where is; "": there is none
	}{
		{"nothing", func(m *planted) {}, ops.AnomalyError{}, ""},
		{"a weight", func(m *planted) { m.weight[6] = nan }, ops.AnomalyError{Op: "linear", At: []int{0, 1}, Input: "w f32[3 4]"}, "linear"},
		{"an input", func(m *planted) { m.input[5] = inf }, ops.AnomalyError{Op: "linear", At: []int{1, 0}, Input: "x f32[2 4]"}, "linear"},
		{"a product that overflows", func(m *planted) { m.weight[1], m.input[1] = 1e30, 1e30 }, ops.AnomalyError{Op: "linear", At: []int{0, 0}}, "linear"},
		{"a gradient that overflows", func(m *planted) { m.weight[1], m.seed = 1e20, 1e30 }, ops.AnomalyError{Op: "linear backward"}, "linear"},
		{"the seed", func(m *planted) { m.seed = nan }, ops.AnomalyError{Op: "cross-entropy", Input: "seed f32[]"}, "loss"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := planted{weight: make([]float32, 12), input: make([]float32, 8), seed: 1}
			for i := range m.weight {
				m.weight[i] = float32(i%5) - 2
			}
			for i := range m.input {
				m.input[i] = float32(i%3) - 1
			}
			c.plant(&m)
			p := ops.NewParams(dev, ops.F32)
			w := p.Add("w", 3, 4)
			if err := p.Alloc(); err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			if err := ops.Upload(ctx, w, m.weight); err != nil {
				t.Fatal(err)
			}
			g := ops.NewGraph(dev)
			x, y, seed := g.Input("x", ops.F32, 2, 4), g.Input("y", ops.I32, 2), g.Input("seed", ops.F32)
			g.RequireGrad(x)
			lines := map[string]string{}
			lines["linear"] = here(1)
			h := g.Linear(x, w, nil)
			h = g.GELU(h)
			lines["loss"] = here(1)
			loss := g.CrossEntropy(h, y, nil)
			g.Backward(loss, &ops.BackwardOptions{Seed: seed})
			g.Output(loss)
			g.Output(g.Grad(x))
			step := compile(t, g)
			for _, err := range []error{ops.Upload(ctx, x, m.input), ops.Upload(ctx, y, []int32{0, 2}), ops.Upload(ctx, seed, []float32{m.seed})} {
				if err != nil {
					t.Fatal(err)
				}
			}
			err := step.RunChecked(ctx)
			if c.at == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var got *ops.AnomalyError
			if !errors.As(err, &got) {
				t.Fatalf("error is %v, want an AnomalyError", err)
			}
			if got.Op != c.want.Op || got.Where != lines[c.at] || got.Input != c.want.Input || c.want.At != nil && !slices.Equal(got.At, c.want.At) {
				t.Errorf("%+v, want %+v at %s", *got, c.want, lines[c.at])
			}
			for _, want := range []string{c.want.Op, lines[c.at], "f32["} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

// It computes what Run computes, in memory that other values lay in before.
func TestRunCheckedHasTheBitsOfRun(t *testing.T) {
	dev := vktest.Open(t)
	results := func(run func(s *ops.Step) error) (all []float32) {
		g := ops.NewGraph(dev)
		x := g.Input("x", ops.F32, 6, 7)
		g.RequireGrad(x)
		y := g.Input("y", ops.I32, 6)
		h := x
		for range 4 {
			h = g.Add(g.GELU(h), x)
		}
		loss := g.CrossEntropy(g.Softmax(h), y, nil)
		g.Backward(loss, nil)
		g.Output(loss)
		g.Output(g.Grad(x))
		step := compile(t, g)
		if err := ops.Upload(ctx, y, make([]int32, 6)); err != nil {
			t.Fatal(err)
		}
		for k := range 3 {
			in := make([]float32, x.Len())
			for i := range in {
				in[i] = float32((i*7+k)%11) - 5
			}
			if err := ops.Upload(ctx, x, in); err != nil {
				t.Fatal(err)
			}
			if err := run(step); err != nil {
				t.Fatal(err)
			}
			all = append(append(all, values(t, loss)...), values(t, g.Grad(x))...)
		}
		return all
	}
	want := results((*ops.Step).Run)
	if got := results(func(s *ops.Step) error { return s.RunChecked(ctx) }); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRunCheckedAfterClose(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 4)
	g.Output(g.Scale(x, 2))
	step := compile(t, g)
	if err := step.Close(); err != nil {
		t.Fatal(err)
	}
	if err := step.RunChecked(ctx); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("error is %v, want that the step is closed", err)
	}
}
