package ops_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

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

// compile compiles g; the test closes the step.
func compile(t testing.TB, g *ops.Graph) *ops.Step {
	t.Helper()
	s, err := g.Compile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, k := range ops.Kernels(g) {
		used.Store(k, true)
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
	must(t, ops.Upload(ctx, at, []uint32{0, 0, 0, 0}))
	step := run(t, g)
	if l, err := ops.Item(ctx, loss); err != nil || math.Abs(float64(l)-math.Log(v)) > 1e-5 {
		t.Fatalf("loss of a table of zeros is %v (%v), want log %d = %v", l, err, v, math.Log(v))
	}
	n := vktest.AllocsPerRun(50, func() {
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
}

// One gradient handed to both sides of a sum must not be added to in place.
func TestBackwardSharedGradient(t *testing.T) {
	dev := vktest.Open(t)
	const n = 5
	av, bv, wv, dv := random(ops.F32, 70, n*n), random(ops.F32, 71, n*n), random(ops.F32, 72, n*n), random(ops.F32, 73, n*n)
	dy := tensor(t, dev, ops.F32, []int{n, n}, dv)
	a, b, w := tensor(t, dev, ops.F32, []int{n, n}, av), tensor(t, dev, ops.F32, []int{n, n}, bv), tensor(t, dev, ops.F32, []int{n, n}, wv)
	g := ops.NewGraph(dev)
	g.RequireGrad(a)
	g.RequireGrad(b)
	x, y := g.Scale(a, 1), g.Scale(b, 1)
	z := g.MatMul(x, w)
	sum := g.Add(g.Add(x, y), z)
	ops.BackwardFrom(g, sum, dy, false)
	g.Output(g.Grad(a))
	g.Output(g.Grad(b))
	run(t, g)
	da, _ := opstest.MatMulBackward64("nn", av, wv, dv, n, n, n)
	for i := range da {
		da[i] += float64(dv[i])
	}
	opstest.Close(t, values(t, g.Grad(a)), da, 1e-6)
	opstest.Close(t, values(t, g.Grad(b)), dv, 0)
	opstest.Close(t, values(t, dy), dv, 0)
}

func TestBackwardOfTensorUsedTwice(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		const n = 7
		p := ops.NewParams(dev, dt)
		w := p.Add("w", n)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		dy := tensor(t, dev, dt, []int{n}, random(dt, 74, n))
		g := ops.NewGraph(dev)
		x := g.Scale(w, 1)
		sum := g.Add(g.Add(x, x), g.Add(w, w)) // 4 w
		ops.BackwardFrom(g, sum, dy, false)
		s := run(t, g)
		want := random(dt, 74, n)
		for i := range want {
			want[i] *= 4
		}
		opstest.Close(t, values(t, p.Grad(w)), want, 2*tolerance(dt))
		// Without Accumulate a second run starts over.
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		opstest.Close(t, values(t, p.Grad(w)), want, 2*tolerance(dt))
	}
}

func TestBackwardAccumulates(t *testing.T) {
	dev := vktest.Open(t)
	const v = 6
	for _, dt := range floats {
		p := ops.NewParams(dev, dt)
		e := p.Add("table", v, v)
		unused := p.Add("unused", 3)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		table := random(dt, 75, v*v)
		if err := errors.Join(ops.Upload(ctx, e, table), ops.Upload(ctx, p.Grad(unused), []float32{1, 2, 3})); err != nil {
			t.Fatal(err)
		}
		ids, targets := opstest.IDs(76, 20, v), opstest.IDs(77, 20, v)
		g := ops.NewGraph(dev)
		loss := g.CrossEntropy(g.Embed(e, tensor(t, dev, ops.I32, []int{20}, ids)), tensor(t, dev, ops.I32, []int{20}, targets), nil)
		half := g.Input("half", ops.F32)
		if err := ops.Upload(ctx, half, []float32{0.5}); err != nil {
			t.Fatal(err)
		}
		g.Backward(loss, &ops.BackwardOptions{Seed: half, Accumulate: true})
		if got := g.Updater().Reached(p); !slices.Equal(got, []*ops.Tensor{e}) {
			t.Errorf("reached %v, want the table alone", got)
		}
		s := run(t, g)
		if err := s.Run(); err != nil { // twice one half
			t.Fatal(err)
		}
		r := opstest.CrossEntropy64(opstest.Embed64(table, ids, v), targets, v, opstest.CrossEntropyOptions{})
		opstest.Close(t, values(t, p.Grad(e)), opstest.EmbedBackward64(r.Grad, ids, v, v), tolerance(dt))
		opstest.Close(t, values(t, p.Grad(unused)), []float32{1, 2, 3}, 0)
	}
}

// A logit matrix that is a parameter itself: stored, and added to with Accumulate.
func TestBackwardStraightIntoParameter(t *testing.T) {
	dev := vktest.Open(t)
	const n, v = 3, 5
	targets := []int32{4, 0, 2}
	for _, accumulate := range []bool{false, true} {
		p := ops.NewParams(dev, ops.F32)
		x := p.Add("x", n, v)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		logits := random(ops.F32, 78, n*v)
		if err := ops.Upload(ctx, x, logits); err != nil {
			t.Fatal(err)
		}
		y := tensor(t, dev, ops.I32, []int{n}, targets)
		g := ops.NewGraph(dev)
		loss := g.Add(g.CrossEntropy(x, y, nil), g.CrossEntropy(x, y, &ops.CrossEntropyOptions{ZLoss: 0.1}))
		g.Backward(loss, &ops.BackwardOptions{Accumulate: accumulate})
		s := run(t, g)
		runs := 1.0
		if accumulate {
			if err := s.Run(); err != nil {
				t.Fatal(err)
			}
			runs = 2
		}
		want := opstest.CrossEntropy64(logits, targets, v, opstest.CrossEntropyOptions{}).Grad
		for i, d := range opstest.CrossEntropy64(logits, targets, v, opstest.CrossEntropyOptions{ZLoss: 0.1}).Grad {
			want[i] = runs * (want[i] + d)
		}
		opstest.Close(t, values(t, p.Grad(x)), want, 1e-6)
	}
}

// The seed is written by the graph, before the loss, after it, or twice: the
// gradient takes the value that Backward found.
func TestBackwardSeedComputedInGraph(t *testing.T) {
	dev := vktest.Open(t)
	const n, v = 2, 3
	logits, targets := random(ops.F32, 79, n*v), []int32{2, 0}
	x, y := tensor(t, dev, ops.F32, []int{n, v}, logits), tensor(t, dev, ops.I32, []int{n}, targets)
	for name, when := range map[string][2]bool{"before": {true, false}, "after": {false, true}, "twice": {true, true}} {
		t.Run(name, func(t *testing.T) {
			g := ops.NewGraph(dev)
			g.RequireGrad(x)
			seed := g.New(ops.F32)
			if when[0] {
				g.Fill(seed, 8)
			}
			loss := g.CrossEntropy(x, y, nil)
			if when[1] {
				g.Fill(seed, 4)
			}
			g.Backward(loss, &ops.BackwardOptions{Seed: seed})
			g.Output(g.Grad(x))
			run(t, g)
			scale := 8.0
			if when[1] {
				scale = 4
			}
			want := opstest.CrossEntropy64(logits, targets, v, opstest.CrossEntropyOptions{Scale: scale}).Grad
			opstest.Close(t, values(t, g.Grad(x)), want, 1e-6)
		})
	}
}

func TestGraphErrors(t *testing.T) {
	dev := vktest.Open(t)
	p := ops.NewParams(dev, ops.F32)
	w := p.Add("w", 4)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	late := ops.NewParams(dev, ops.F32)
	unallocated := late.Add("late", 4)
	released := tensor[float32](t, dev, ops.F32, []int{4}, nil)
	released.Release()
	other := ops.NewGraph(dev)
	defer other.Release()
	foreign := other.New(ops.F32, 4)
	for _, c := range []struct {
		name string
		call func(g *ops.Graph)
		want string
	}{
		{"foreign", func(g *ops.Graph) { g.Add(w, foreign) }, "add: f32[4] belongs to another graph"},
		{"released", func(g *ops.Graph) { g.Add(w, released) }, "add: f32[4] has no memory"},
		{"unallocated", func(g *ops.Graph) { g.Add(w, unallocated) }, "late f32[4] has no memory"},
		{"first sticks", func(g *ops.Graph) { g.View(g.Scale(g.Add(w, nil), 2), 17); g.Cast(w, ops.I32) }, "add: argument 1 is nil"},
		{"backward of a vector", func(g *ops.Graph) { g.Backward(g.Scale(w, 2), nil) }, "backward: loss is f32[4], want one f32 value"},
		{"backward of nil", func(g *ops.Graph) { g.Backward(nil, nil) }, "backward: argument 0 is nil"},
		{"no parameter", func(g *ops.Graph) { g.Backward(g.Scale(g.Input("x", ops.F32), 2), nil) }, "no parameter feeds into the loss"},
		{"seed", func(g *ops.Graph) {
			x := g.Input("x", ops.F32)
			g.RequireGrad(x)
			g.Backward(g.Scale(x, 2), &ops.BackwardOptions{Seed: w})
		}, "backward: seed is w f32[4], want one f32 value"},
		{"backward twice", func(g *ops.Graph) {
			x := g.Input("x", ops.F32)
			g.RequireGrad(x)
			y := g.Scale(x, 2)
			g.Backward(y, nil)
			g.Backward(y, nil)
		}, "called twice"},
		{"shape", func(g *ops.Graph) { g.New(ops.F32, 0) }, "new: dimension 0 of f32[0] is 0"},
		{"output", func(g *ops.Graph) { g.Output(nil) }, "output: argument 0 is nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := ops.NewGraph(dev)
			c.call(g)
			_, err := g.Compile()
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at graph_test.go:") || err != g.Err() {
				t.Errorf("error %v, want %q at this file", err, c.want)
			}
		})
	}
}

func TestParams(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		declare func(p *ops.Params)
		want    string
	}{
		{func(p *ops.Params) {}, "empty set"},
		{func(p *ops.Params) { p.Add("a", 1); p.Add("a", 2) }, `parameter "a" is there already`},
		{func(p *ops.Params) { p.Add("", 1) }, "parameter 0 has no name"},
		{func(p *ops.Params) { p.Add("a", 1, 0) }, "dimension 1 of f32[1 0] is 0"},
	} {
		p := ops.NewParams(dev, ops.F32)
		c.declare(p)
		if err := p.Alloc(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		p.Release()
	}
	if err := ops.NewParams(dev, ops.I32).Alloc(); err == nil || !strings.Contains(err.Error(), "storage type is i32") {
		t.Errorf("integer parameters: error %v", err)
	}

	p := ops.NewParams(dev, ops.BF16)
	a, b := p.Add("a", 3, 5), p.Add("b")
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	if p.ByName("b") != b || p.ByName("c") != nil || !slices.Equal(p.All(), []*ops.Tensor{a, b}) || p.Grad(nil) != nil {
		t.Errorf("parameters %v", p.All())
	}
	av := random(ops.BF16, 90, 15)
	if err := errors.Join(ops.Upload(ctx, a, av), ops.Upload(ctx, b, []float32{9}), ops.Upload(ctx, p.Grad(b), []float32{8})); err != nil {
		t.Fatal(err)
	}
	opstest.Close(t, values(t, a), av, 0)
	opstest.Close(t, values(t, b), []float32{9}, 0)
	opstest.Close(t, values(t, p.Grad(a)), make([]float32, 15), 0)
	bank := p.Banks()[0]
	_, off4, n4 := p.Place(b)
	opstest.Close(t, values(t, bank.Values)[4*off4:4*(off4+n4)], []float32{9, 0, 0, 0}, 0)
	opstest.Close(t, values(t, p.PartAt(bank.Grads, b, off4)), []float32{8}, 0)
	if p.Add("late", 1); p.ByName("late") != nil {
		t.Error("a parameter joined an allocated set")
	}
}
