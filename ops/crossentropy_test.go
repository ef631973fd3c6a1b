package ops_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/ops/opstest"
	"github.com/lemnos-ml/lemnos/vk"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// ceResult is what one way of running cross-entropy returns.
type ceResult struct {
	loss       []float32
	rows, grad []float32
}

// same fails t unless both results have the same values.
func (r ceResult) same(t testing.TB, want ceResult) {
	t.Helper()
	opstest.Close(t, r.loss, want.loss, 0)
	opstest.Close(t, r.rows, want.rows, 0)
	opstest.Close(t, r.grad, want.grad, 0)
}

// ceOptions are options as ops takes them; the upstream scale is not among them.
func ceOptions(o opstest.CrossEntropyOptions) *ops.CrossEntropyOptions {
	r := &ops.CrossEntropyOptions{LabelSmoothing: float32(o.Smoothing), ZLoss: float32(o.ZLoss)}
	if o.Ignore != nil {
		i := int(*o.Ignore)
		r.IgnoreIndex = &i
	}
	return r
}

// seed returns the upstream scale as an input of g, or nil for 1.
func seed(t testing.TB, g *ops.Graph, scale float64) *ops.Tensor {
	t.Helper()
	if scale == 0 {
		return nil
	}
	s := g.Input("seed", ops.F32)
	if err := ops.Upload(ctx, s, []float32{float32(scale)}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ceRun is one pass of forward and backward over logits x in storage type dt.
func ceRun(t testing.TB, dev *vk.Device, dt ops.DType, shape []int, x []float32, targets []int32, o opstest.CrossEntropyOptions) ceResult {
	t.Helper()
	logits := tensor(t, dev, dt, shape, x)
	ids := tensor(t, dev, ops.I32, shape[:len(shape)-1], targets)
	g := ops.NewGraph(dev)
	g.RequireGrad(logits)
	loss, each := g.CrossEntropyEach(logits, ids, ceOptions(o))
	g.Backward(loss, &ops.BackwardOptions{Seed: seed(t, g, o.Scale)})
	g.Output(loss)
	g.Output(each)
	g.Output(g.Grad(logits))
	s := run(t, g)
	defer s.Close()
	defer logits.Release()
	return ceResult{values(t, loss), values(t, each), values(t, g.Grad(logits))}
}

func dtype(name string) ops.DType {
	return map[string]ops.DType{"f32": ops.F32, "f16": ops.F16, "bf16": ops.BF16}[name]
}

func TestSpec1CrossEntropyAgreesWithPyTorch(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range opstest.CrossEntropyCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			x, targets := c.Logits(), c.Targets()
			r := ceRun(t, dev, ops.F32, c.Shape, x, targets, c.Options)
			if e := opstest.RelErr(float64(r.loss[0]), c.Loss()); e > 2e-6 {
				t.Errorf("loss %v, want %v (relative error %.2g)", r.loss[0], c.Loss(), e)
			}
			opstest.CheckEach(t, "rows", r.rows, c.Rows, 2e-6)
			opstest.CheckL2(t, "gradient", r.grad, c.Grad, 1e-6)
			if c.DType == "f32" {
				return
			}
			// 16-bit storage: the f32 result on the upcast inputs, the gradient rounded once.
			r.grad = opstest.Round(c.DType, r.grad)
			ceRun(t, dev, dtype(c.DType), c.Shape, x, targets, c.Options).same(t, r)
		})
	}
}

// Each row's loss and gradient against the reference, however small: the mean would hide a bad row.
func TestSpec1CrossEntropyAccuracyOfEachRow(t *testing.T) {
	dev := vktest.Open(t)
	const n, v = 64, 100
	x := opstest.Uniform(1, n*v, 4)
	targets := opstest.IDs(2, n, v)
	for i, target := range targets { // the target leads by 0 to 16: losses down to 1e-8 and up to 20
		x[i*v+int(target)] += float32(i) / 4
		if i%4 == 3 {
			x[i*v+int(target)] -= float32(i) / 2
		}
	}
	want := opstest.CrossEntropy64(x, targets, v, opstest.CrossEntropyOptions{})
	got := ceRun(t, dev, ops.F32, []int{n, v}, x, targets, opstest.CrossEntropyOptions{})
	for i := range n {
		if e := opstest.RelErr(float64(got.rows[i]), want.Rows[i]); e > 2e-6 {
			t.Errorf("row %d: loss %v, want %v (relative error %.2g)", i, got.rows[i], want.Rows[i], e)
		}
		if e := opstest.RelL2(got.grad[i*v:(i+1)*v], want.Grad[i*v:(i+1)*v]); e > 1e-6 {
			t.Errorf("row %d: gradient off by %.2g", i, e)
		}
	}
}

// The ways to run it differ in kernels and memory, not in a single bit.
func TestSpec1CrossEntropyInPlaceUnfusedImmediate(t *testing.T) {
	dev := vktest.Open(t)
	const b, m, v = 3, 5, 77
	ignore := int32(-100)
	targets := opstest.IDs(4, b*m, v)
	targets[7] = ignore
	o := opstest.CrossEntropyOptions{Ignore: &ignore, Smoothing: 0.1, ZLoss: 1e-3, Scale: 4}
	shape := []int{b, m, v}
	for _, dt := range floats {
		t.Run(dt.String(), func(t *testing.T) {
			x := opstest.Round(dt.String(), opstest.Uniform(3, b*m*v, 9))
			want := ceRun(t, dev, dt, shape, x, targets, o)
			logits, ids := tensor(t, dev, dt, shape, x), tensor(t, dev, ops.I32, []int{b, m}, targets)

			// build is a model around the loss: an intermediate as logits, so that its memory may be taken.
			build := func(g *ops.Graph, through func(loss *ops.Tensor) *ops.Tensor) (l, loss, each *ops.Tensor) {
				g.RequireGrad(logits)
				l = g.Scale(logits, 1)
				loss, each = g.CrossEntropyEach(l, ids, ceOptions(o))
				g.Backward(through(loss), &ops.BackwardOptions{Seed: seed(t, g, o.Scale)})
				for _, out := range []*ops.Tensor{loss, each, g.Grad(logits)} {
					g.Output(out)
				}
				return l, loss, each
			}
			same := func(loss *ops.Tensor) *ops.Tensor { return loss }
			check := func(t *testing.T, g *ops.Graph, loss, each *ops.Tensor) {
				t.Helper()
				ceResult{values(t, loss), values(t, each), values(t, g.Grad(logits))}.same(t, want)
			}
			t.Run("in place", func(t *testing.T) {
				g := ops.NewGraph(dev)
				l, loss, each := build(g, same)
				run(t, g)
				check(t, g, loss, each)
				if !ops.Shares(l, g.Grad(l)) {
					t.Error("the gradient did not take the memory of the logits")
				}
				if err := ops.Download(ctx, l, make([]float32, l.Len())); err == nil {
					t.Error("logits that the gradient overwrote can be downloaded")
				}
			})
			t.Run("logits kept", func(t *testing.T) {
				g := ops.NewGraph(dev)
				l, loss, each := build(g, same)
				g.Output(l)
				run(t, g)
				check(t, g, loss, each)
				opstest.Close(t, values(t, l), x, 0)
				if ops.Shares(l, g.Grad(l)) {
					t.Error("the gradient took the memory of logits that are an output")
				}
			})
			t.Run("logits read later", func(t *testing.T) {
				g := ops.NewGraph(dev)
				l, loss, each := build(g, same)
				later := g.Scale(l, 1)
				g.Output(later)
				run(t, g)
				check(t, g, loss, each)
				opstest.Close(t, values(t, later), x, 0)
			})
			t.Run("gradient kept", func(t *testing.T) {
				g := ops.NewGraph(dev)
				l, loss, each := build(g, same)
				g.Output(g.Grad(l))
				run(t, g)
				check(t, g, loss, each)
				opstest.Close(t, values(t, g.Grad(l)), want.grad, 0)
				if !ops.Shares(l, g.Grad(l)) {
					t.Error("a gradient that is an output did not take the memory of the logits")
				}
			})
			t.Run("unfused", func(t *testing.T) {
				g := ops.NewGraph(dev)
				_, loss, each := build(g, func(loss *ops.Tensor) *ops.Tensor { return g.Scale(loss, 1) })
				if !slices.Contains(ops.Kernels(g), "crossentropy."+dt.String()) {
					t.Error("d loss is computed after the loss, yet one kernel does both")
				}
				run(t, g)
				check(t, g, loss, each)
			})
			t.Run("immediate", func(t *testing.T) {
				g := ops.NewImmediate(dev)
				defer g.Release()
				_, loss, each := build(g, same)
				if err := g.Err(); err != nil {
					t.Fatal(err)
				}
				check(t, g, loss, each)
			})
		})
	}
}

func TestSpec1CrossEntropyTargetTypes(t *testing.T) {
	dev := vktest.Open(t)
	const n, v = 11, 300
	x, targets := opstest.Uniform(5, n*v, 5), opstest.IDs(6, n, v)
	want := ceRun(t, dev, ops.F32, []int{n, v}, x, targets, opstest.CrossEntropyOptions{})
	logits := tensor(t, dev, ops.F32, []int{n, v}, x)
	u16, u32 := make([]uint16, n), make([]uint32, n)
	for i, id := range targets {
		u16[i], u32[i] = uint16(id), uint32(id)
	}
	for _, ids := range []*ops.Tensor{tensor(t, dev, ops.U16, []int{n}, u16), tensor(t, dev, ops.U32, []int{n}, u32)} {
		g := ops.NewGraph(dev)
		loss := g.CrossEntropy(logits, ids, nil)
		g.Output(loss)
		run(t, g)
		opstest.Close(t, values(t, loss), want.loss, 0)
	}
}

func TestSpec1CrossEntropyOfOnePosition(t *testing.T) {
	dev := vktest.Open(t)
	x, targets := []float32{1, 2, 3, 4, 5}, []int32{2}
	r := ceRun(t, dev, ops.F32, []int{5}, x, targets, opstest.CrossEntropyOptions{})
	want := opstest.CrossEntropy64(x, targets, 5, opstest.CrossEntropyOptions{})
	opstest.Close(t, r.loss, []float64{want.Loss}, 2e-6)
	opstest.Close(t, r.grad, want.Grad, 1e-6)
}

// A broken row is NaN, itself alone; the others have the bits that they have without it.
func TestSpec1CrossEntropyNonFiniteLogits(t *testing.T) {
	dev := vktest.Open(t)
	const n, v = 5, 70
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x, targets := opstest.Uniform(7, n*v, 5), opstest.IDs(8, n, v)
	clean := ceRun(t, dev, ops.F32, []int{n, v}, x, targets, opstest.CrossEntropyOptions{})
	for _, c := range []struct {
		name  string
		spoil func(row []float32)
	}{
		{"nan", func(row []float32) { row[69] = nan }},
		{"nan first", func(row []float32) { row[0] = nan }},
		{"plus inf", func(row []float32) { row[33] = inf }},
		{"all minus inf", func(row []float32) {
			for i := range row {
				row[i] = -inf
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := slices.Clone(x)
			c.spoil(bad[2*v : 3*v])
			r := ceRun(t, dev, ops.F32, []int{n, v}, bad, targets, opstest.CrossEntropyOptions{})
			for i := range n {
				for j, d := range append([]float32{r.rows[i]}, r.grad[i*v:(i+1)*v]...) {
					want := append([]float32{clean.rows[i]}, clean.grad[i*v:(i+1)*v]...)[j]
					if i == 2 && !math.IsNaN(float64(d)) || i != 2 && d != want {
						t.Fatalf("row %d, value %d is %v, was %v without the broken row 2", i, j, d, want)
					}
				}
			}
			if !math.IsNaN(float64(r.loss[0])) {
				t.Errorf("loss is %v, want NaN", r.loss[0])
			}
		})
	}
}

func TestSpec1CrossEntropyMinusInfTarget(t *testing.T) {
	dev := vktest.Open(t)
	x := opstest.Uniform(9, 2*9, 3)
	x[4] = float32(math.Inf(-1))
	r := ceRun(t, dev, ops.F32, []int{2, 9}, x, []int32{4, 1}, opstest.CrossEntropyOptions{})
	if !math.IsInf(float64(r.rows[0]), 1) || !math.IsInf(float64(r.loss[0]), 1) {
		t.Errorf("losses %v, mean %v, want +Inf", r.rows, r.loss)
	}
	want := opstest.CrossEntropy64(x, []int32{4, 1}, 9, opstest.CrossEntropyOptions{})
	opstest.Close(t, r.grad, want.Grad, 1e-6)
}

// An ignored row takes no part even when its logits are not numbers, and its
// gradient is 0.
func TestSpec1CrossEntropyIgnoredRows(t *testing.T) {
	dev := vktest.Open(t)
	const v = 6
	ignore := int32(3) // a token of the vocabulary
	x := opstest.Uniform(10, 4*v, 3)
	x[v+2] = float32(math.NaN())
	targets := []int32{0, 3, 5, 3}
	r := ceRun(t, dev, ops.F32, []int{4, v}, x, targets, opstest.CrossEntropyOptions{Ignore: &ignore})
	want := opstest.CrossEntropy64(x, targets, v, opstest.CrossEntropyOptions{Ignore: &ignore})
	opstest.Close(t, r.loss, []float64{want.Loss}, 2e-6)
	opstest.Close(t, r.rows, want.Rows, 2e-6)
	opstest.Close(t, r.grad, want.Grad, 1e-6)
}

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
		if msg := err.Error(); !strings.Contains(msg, c.message) || !strings.Contains(msg, "crossentropy_test.go:") {
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
			for _, want := range append(c.want, "crossentropy_test.go:") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestSpec1CrossEntropyIsDeterministic(t *testing.T) {
	dev := vktest.Open(t)
	x, targets := opstest.Uniform(11, 8*5003, 9), opstest.IDs(12, 8, 5003)
	first := ceRun(t, dev, ops.F32, []int{8, 5003}, x, targets, opstest.CrossEntropyOptions{})
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ceRun(t, dev, ops.F32, []int{8, 5003}, x, targets, opstest.CrossEntropyOptions{}).same(t, first)
		})
	}
}
