package ops_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}

// Run refuses an input that was never written, and one that belongs to a single
// run when it is that of the run before; one that no operation reads is no matter.
func TestRunNeedsItsInputs(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x, random := g.Input("x", ops.F32, 4), g.Input("random", ops.U32, 4)
	g.Input("unread", ops.F32, 4)
	g.Train(random)
	tokens := g.Input("tokens", ops.U16, 5)
	first, _, at := g.Batch(tokens, 1, 2, 7)
	y := g.Dropout(x, 0.5)
	g.Output(y)
	g.Output(first)
	s := compile(t, g)
	number := []uint32{0, 0, 0, 0}
	for _, c := range []struct {
		want  string
		stage func() error
	}{
		{"x f32[4] has no values yet", func() error { return ops.Upload(ctx, x, []float32{1, 2, 3, 4}) }},
		{"random u32[4] is not staged for run 1", func() error { return ops.Upload(ctx, random, number) }},
		{"tokens u16[5] has no values yet", func() error { return ops.Upload(ctx, tokens, []uint16{1, 2, 3, 4, 5}) }},
		{"batch u32[4] is not staged for run 1", func() error { return ops.Upload(ctx, at, number) }},
	} {
		wantError(t, "run", s.Run(), c.want)
		if s.Runs() != 0 {
			t.Fatalf("%d runs after an error, want none", s.Runs())
		}
		must(t, c.stage())
	}
	must(t, s.Run())
	wantError(t, "second run", s.Run(), "random u32[4] is not staged for run 2: call Upload with the number of the step before each Run")
	must(t, ops.Upload(ctx, random, number))
	wantError(t, "second run", s.Run(), "batch u32[4] is not staged for run 2: call Upload with the number of the batch before each Run")
	must(t, ops.Upload(ctx, at, number))
	must(t, s.Run())
}

// A part of an input can be staged again, but not alone.
func TestPartOfAnInput(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 128, 4)
	part := g.Rows(x, 64, 128)
	y := g.Scale(part, 2)
	g.Output(y)
	g.Output(g.Scale(x, 2))
	wantError(t, "a part alone", ops.Upload(ctx, part, random(ops.F32, 1, 256)), "ops: upload: x f32[64 4] is a part of input x f32[128 4], whose other values are not there yet: Upload all of it first")
	s := compile(t, g)
	wantError(t, "run", s.Run(), "x f32[128 4] has no values yet")
	must(t, ops.Upload(ctx, x, random(ops.F32, 1, 512)))
	again := random(ops.F32, 2, 256)
	must(t, ops.Upload(ctx, part, again))
	must(t, s.Run())
	if got := values(t, y); got[3] != 2*again[3] {
		t.Errorf("the part has %v, want %v", got[3], 2*again[3])
	}
}

// What comes after Compile is an error of the call, or of the next Run, and never
// a step that lacks it.
func TestAfterCompile(t *testing.T) {
	dev := vktest.Open(t)
	x := tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4})
	for name, late := range map[string]func(g *ops.Graph, y *ops.Tensor){
		"operation":    func(g *ops.Graph, y *ops.Tensor) { g.Scale(x, 3) },
		"output":       func(g *ops.Graph, y *ops.Tensor) { g.Output(y) },
		"input":        func(g *ops.Graph, y *ops.Tensor) { g.Input("late", ops.F32, 4) },
		"intermediate": func(g *ops.Graph, y *ops.Tensor) { g.New(ops.F32, 4) },
		"train":        func(g *ops.Graph, y *ops.Tensor) { g.Train(tensor(t, dev, ops.U32, []int{4}, []uint32{1, 2, 3, 4})) },
		"heed":         func(g *ops.Graph, y *ops.Tensor) { g.Updater().Heed(ops.NewGraph(dev)) },
		"dispatch":     func(g *ops.Graph, y *ops.Tensor) { g.Dispatch("mine") },
		"require grad": func(g *ops.Graph, y *ops.Tensor) { g.RequireGrad(x) },
	} {
		g := ops.NewGraph(dev)
		y := g.Scale(x, 2)
		z := g.Scale(y, 2)
		g.Output(z)
		s := compile(t, g)
		must(t, s.Run())
		late(g, y)
		wantError(t, name, g.Err(), "the graph is compiled already")
		wantError(t, name+", then Run", s.Run(), "the graph is compiled already")
		wantError(t, name+", then Download", ops.Download(ctx, y, make([]float32, 4)), "ask for them with Graph.Output")
		if _, err := g.Compile(); err == nil {
			t.Errorf("%s: compiled again", name)
		}
		if got := values(t, z)[3]; got != 16 { // of the run before
			t.Errorf("%s: the output is %v, want 16", name, got)
		}
	}
}

// A graph whose results nobody can read is refused, and an output that has none.
func TestCompileWithoutOutput(t *testing.T) {
	dev := vktest.Open(t)
	for name, build := range map[string]func(g *ops.Graph){
		"nothing kept":  func(g *ops.Graph) { g.Scale(g.Input("x", ops.F32, 4), 2) },
		"no operations": func(g *ops.Graph) {},
	} {
		g := ops.NewGraph(dev)
		build(g)
		_, err := g.Compile()
		wantError(t, name, err, "call Output")
	}
	g := ops.NewGraph(dev)
	g.Output(g.New(ops.F32, 4))
	_, err := g.Compile()
	wantError(t, "an output that is not computed", err, "nothing computes f32[4]")
}

// An input of an immediate graph is uploaded, or written by an operation, before
// an operation reads it; the number of a batch is 0 before it is written.
func TestImmediateNeedsItsInputs(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewImmediate(dev)
	t.Cleanup(g.Release)
	x, y := g.Input("x", ops.F32, 4), g.Input("y", ops.F32, 4)
	must(t, ops.Upload(ctx, x, []float32{1, 2, 3, 4}))
	g.Fill(y, 1)
	g.Add(x, y)
	tokens := tensor(t, dev, ops.U32, []int{4}, []uint32{1, 2, 3, 4})
	g.Batch(tokens, 1, 2, 7)
	must(t, g.Err())
	g.Scale(g.Input("late", ops.F32, 4), 2)
	wantError(t, "an input without values", g.Err(), "ops: scale: late f32[4] has no values yet: call Upload first (at misuse_test.go:")
}

// What is nil or no type is an error of the graph, where it is said at all.
func TestNothingGiven(t *testing.T) {
	dev := vktest.Open(t)
	x := tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4})
	for want, build := range map[string]func(g *ops.Graph){
		"":                          func(g *ops.Graph) { g.Fail("mine", nil) },
		"scale: argument 0 is nil":  func(g *ops.Graph) { g.Scale(new(ops.Tensor), 2) },
		"heed: no other graph":      func(g *ops.Graph) { g.Updater().Heed(nil) },
		"recompute: no function":    func(g *ops.Graph) { g.Recompute(x, nil) },
		"dtype(99)[4]: there is no": func(g *ops.Graph) { g.Input("x", 99, 4) },
	} {
		for _, g := range []*ops.Graph{ops.NewGraph(dev), ops.NewImmediate(dev)} {
			build(g)
			if want == "" {
				must(t, g.Err())
			} else {
				wantError(t, "build", g.Err(), want)
			}
			g.Release()
		}
	}
	_, err := ops.NewTensor(dev, 99, 4)
	wantError(t, "a tensor", err, "dtype(99)[4]: there is no such storage type")
}

// A tensor that is released under a compiled step fails the run.
func TestReleasedUnderStep(t *testing.T) {
	dev := vktest.Open(t)
	x := tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4})
	g := ops.NewGraph(dev)
	g.Output(g.Scale(x, 2))
	s := compile(t, g)
	x.Release()
	wantError(t, "run", s.Run(), "was released")
	wantError(t, "upload", ops.Upload(ctx, x, []float32{1, 2, 3, 4}), "has no memory")
	wantError(t, "download", ops.Download(ctx, x, make([]float32, 4)), "or it was released")
	p := ops.NewParams(dev, ops.F32)
	w := p.Add("w", 4)
	must(t, p.Alloc())
	p.Release()
	wantError(t, "upload to a released set", ops.Upload(ctx, w, []float32{1, 2, 3, 4}), "has no memory")
	g = ops.NewGraph(dev)
	g.Scale(w, 2)
	wantError(t, "a parameter of a released set", g.Err(), "has no memory")
	g.Release()
}

// Without a device every call says so, at the latest where its error comes out.
func TestNoDevice(t *testing.T) {
	const want = "the device is nil: open one with vk.Open"
	_, err := ops.NewTensor(nil, ops.F32, 4)
	wantError(t, "NewTensor", err, "new tensor: "+want)
	_, err = ops.Reserve(nil, ops.F32, 4)
	wantError(t, "Reserve", err, "new tensor: "+want)
	p := ops.NewParams(nil, ops.F32)
	p.Add("w", 4)
	wantError(t, "Params", p.Alloc(), "params: "+want)
	wantError(t, "Params", p.Reserve(), "params: "+want)
	for name, g := range map[string]*ops.Graph{"NewGraph": ops.NewGraph(nil), "NewImmediate": ops.NewImmediate(nil)} {
		x := g.Input("x", ops.F32, 2, 8)
		g.Train(x)
		y := g.Softmax(g.RMSNorm(g.Add(g.Scale(x, 2), x), x, 1e-5))
		g.Backward(g.CrossEntropy(y, g.Input("ids", ops.I32, 2), nil), nil)
		g.Output(y)
		wantError(t, name, g.Err(), "new graph: "+want)
		wantError(t, name, g.Err(), "misuse_test.go:") // where it was called
		g.Release()
	}
	_, err = ops.NewGraph(nil).Compile()
	wantError(t, "Compile", err, want)
	_, err = ops.NewGraph(nil).Plan()
	wantError(t, "Plan", err, want)
}

func TestCompletedWithoutAStep(t *testing.T) {
	_, err := ops.Completed(nil, nil, []float32{0})
	wantError(t, "Completed", err, "completed: no step")
}

func TestRequireGradOfIntegers(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.I32, ops.U32, ops.U16} {
		g := ops.NewGraph(dev)
		g.RequireGrad(g.Input("ids", dt, 4))
		wantError(t, dt.String(), g.Err(), "require grad: ids "+dt.String()+"[4] is of an integer type, which has no gradient")
		g.Release()
	}
}

// A gradient that needs values which something has written over since is refused; one that does not need
// them, or is of what came after, is not.
func TestOverwrittenBeforeBackward(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		name string
		y    func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor
		want string
	}{
		{"add to", func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor {
			y := g.Mul(h, h)
			g.AddTo(w, h)
			return y
		}, "ops: mul: its gradient needs the values of f32[4] that add to (at misuse_test.go:"},
		{"cast to a view", func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor {
			y := g.Mul(h, h)
			g.CastTo(g.Detach(w), g.View(h, 4))
			return y
		}, "ops: mul: its gradient needs the values of f32[4] that cast (at misuse_test.go:"},
		{"fill a parameter", func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor {
			y := g.Mul(h, w)
			g.Fill(w, 0)
			return y
		}, "ops: mul: its gradient needs the values of w f32[4] that fill (at misuse_test.go:"},
		{"under Recompute", func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor {
			y := g.Recompute(h, func(x *ops.Tensor) *ops.Tensor { return g.Exp(g.Mul(x, h)) })
			g.Fill(h, 0)
			return y
		}, "ops: mul: its gradient needs the values of f32[4] that fill (at misuse_test.go:"},
		{"what came after", func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor {
			g.AddTo(w, h)
			return g.Mul(h, h)
		}, ""},
		{"values not needed", func(g *ops.Graph, w, h *ops.Tensor) *ops.Tensor {
			y := g.Add(h, h)
			g.Fill(h, 0)
			return y
		}, ""},
	} {
		for _, g := range []*ops.Graph{ops.NewGraph(dev), ops.NewImmediate(dev)} {
			p := ops.NewParams(dev, ops.F32)
			w := p.Add("w", 4)
			must(t, p.Alloc())
			t.Cleanup(p.Release)
			loss := g.Sum(c.y(g, w, g.Scale(w, 2)))
			g.Backward(loss, nil)
			if c.want == "" {
				must(t, g.Err())
			} else {
				wantError(t, c.name, g.Err(), c.want)
			}
			g.Release()
		}
	}
}

// What has read a tensor before its gradient was asked for would give it none.
func TestRequireGradTooLate(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 4)
	where := here(1)
	g.Scale(x, 2)
	g.RequireGrad(x)
	wantError(t, "x", g.Err(), "ops: require grad: x f32[4] has been read (at "+where+") by what would give it no gradient: call RequireGrad before (at misuse_test.go:")
	g.Release()
	g = ops.NewGraph(dev)
	x = g.Input("x", ops.F32, 4)
	g.RequireGrad(x)
	y := g.Scale(x, 2)
	g.Scale(y, 3)
	g.RequireGrad(y) // has one already
	must(t, g.Err())
	g.Release()
}

// Reserved parameters get their memory with their first values, and zeros with it.
func TestParamsReserve(t *testing.T) {
	dev := vktest.Open(t)
	p := ops.NewParams(dev, ops.F32)
	w, b := p.Add("w", 3, 5), p.Add("b", 2)
	before := dev.Stats().BufferBytes
	must(t, p.Reserve())
	defer p.Release()
	if got := dev.Stats().BufferBytes; got != before || w.Allocated() != 0 {
		t.Errorf("%d bytes allocated, want none", got-before)
	}
	must(t, ops.Upload(ctx, b, []float32{1, 2}))
	if got := values(t, w); len(got) != 15 || slices.Max(got) != 0 || slices.Min(got) != 0 {
		t.Errorf("values %v, want zeros", got)
	}
	if got := values(t, b); !slices.Equal(got, []float32{1, 2}) {
		t.Errorf("values %v, want 1 and 2", got)
	}
}

// A word of 4 bytes is read as f32, whatever its type; there is none in values of 2.
func TestAsF32(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.F32, ops.I32, ops.U32, ops.U16, ops.F16, ops.BF16} {
		x, err := ops.NewTensor(dev, dt, 4)
		must(t, err)
		t.Cleanup(x.Release)
		g := ops.NewImmediate(dev)
		t.Cleanup(g.Release)
		switch {
		case dt.Size() != 4:
			g.Scale(g.Updater().AsF32(x), 2)
			wantError(t, dt.String(), g.Err(), "ops: as f32: "+dt.String()+"[4] has no words of 4 bytes: Cast a float type to f32, Upload integers as U32 (at misuse_test.go:")
			continue
		case dt == ops.F32:
			must(t, ops.Upload(ctx, x, []float32{1.5, 2, 3, 4}))
		case dt == ops.I32:
			must(t, ops.Upload(ctx, x, []int32{int32(math.Float32bits(1.5)), 2, 3, 4}))
		default:
			must(t, ops.Upload(ctx, x, []uint32{math.Float32bits(1.5), 2, 3, 4}))
		}
		y, err := ops.Item(ctx, g.Scale(g.Updater().AsF32(x), 2))
		must(t, err)
		if y != 3 {
			t.Errorf("%v: twice the value is %v, want 3", dt, y)
		}
	}
}
