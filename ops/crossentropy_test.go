package ops_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
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
func ceRun(t testing.TB, dev *vk.Device, dt ops.DType, shape []int, x []float32, targets []int32, o opstest.CrossEntropyOptions, tune ...func(*ops.Graph)) ceResult {
	t.Helper()
	logits := tensor(t, dev, dt, shape, x)
	ids := tensor(t, dev, ops.I32, shape[:len(shape)-1], targets)
	g := ops.NewGraph(dev)
	for _, tune := range tune {
		tune(g)
	}
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
	t.Parallel()
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

// The ways to go through the rows: a subgroup or workgroup for each, and an invocation.
var ceWays = [][]func(*ops.Graph){nil, {ops.OwnRows}}

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
	for _, way := range ceWays {
		got := ceRun(t, dev, ops.F32, []int{n, v}, x, targets, opstest.CrossEntropyOptions{}, way...)
		for i := range n {
			if e := opstest.RelErr(float64(got.rows[i]), want.Rows[i]); e > 2e-6 {
				t.Errorf("row %d: loss %v, want %v (relative error %.2g)", i, got.rows[i], want.Rows[i], e)
			}
			if e := opstest.RelL2(got.grad[i*v:(i+1)*v], want.Grad[i*v:(i+1)*v]); e > 1e-6 {
				t.Errorf("row %d: gradient off by %.2g", i, e)
			}
		}
	}
}

// Workgroups of many subgroups, and of none; rows of their own; rows of one tile, of several, with a rest and a tail; the target in each place.
func TestSpec1CrossEntropyAsOnAGPU(t *testing.T) {
	dev := vktest.Open(t)
	ignore := int32(-1)
	o := opstest.CrossEntropyOptions{Ignore: &ignore, Smoothing: 0.1, ZLoss: 1e-3}
	for _, v := range []int{7, 4096, 9003} {
		targets := []int32{0, 3, int32(v/2) | 1, int32(v - 5), int32(v - 4), int32(v - 1), ignore}
		n := len(targets)
		x := opstest.Uniform(uint32(v), n*v, 6)
		want := opstest.CrossEntropy64(x, targets, v, o)
		for _, tune := range [][]func(*ops.Graph){{ops.TuneGPU}, {ops.TuneGPU, ops.WithoutSubgroups}, {ops.WithoutSubgroups}, {ops.OwnRows}} {
			got := ceRun(t, dev, ops.F32, []int{n, v}, x, targets, o, tune...)
			for i := range n {
				if e := opstest.RelErr(float64(got.rows[i]), want.Rows[i]); e > 2e-6 {
					t.Errorf("row %d of %d: loss %v, want %v (relative error %.2g)", i, v, got.rows[i], want.Rows[i], e)
				}
			}
			if e := opstest.RelL2(got.grad, want.Grad); e > 1e-6 {
				t.Errorf("rows of %d: gradient off by %.2g", v, e)
			}
		}
		for _, name := range []string{"f16", "bf16"} { // the f32 result on the upcast inputs, the gradient rounded once
			x := opstest.Round(name, x)
			want := ceRun(t, dev, ops.F32, []int{n, v}, x, targets, o, ops.TuneGPU)
			want.grad = opstest.Round(name, want.grad)
			ceRun(t, dev, dtype(name), []int{n, v}, x, targets, o, ops.TuneGPU).same(t, want)
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
				if n := strings.Count(strings.Join(ops.Kernels(g), " "), "crossentropy."); n != 2 {
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
	targets := opstest.IDs(6, n, v)
	u16, u32 := make([]uint16, n), make([]uint32, n)
	for i, id := range targets {
		u16[i], u32[i] = uint16(id), uint32(id)
	}
	for _, dt := range floats {
		x := opstest.Round(dt.String(), opstest.Uniform(5, n*v, 5))
		want := ceRun(t, dev, dt, []int{n, v}, x, targets, opstest.CrossEntropyOptions{})
		logits := tensor(t, dev, dt, []int{n, v}, x)
		for _, ids := range []*ops.Tensor{tensor(t, dev, ops.U16, []int{n}, u16), tensor(t, dev, ops.U32, []int{n}, u32)} {
			g := ops.NewGraph(dev)
			loss := g.CrossEntropy(logits, ids, nil)
			g.Output(loss)
			run(t, g)
			opstest.Close(t, values(t, loss), want.loss, 0)
		}
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
	var clean []ceResult
	for _, way := range ceWays {
		clean = append(clean, ceRun(t, dev, ops.F32, []int{n, v}, x, targets, opstest.CrossEntropyOptions{}, way...))
	}
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
			for w, way := range ceWays {
				r := ceRun(t, dev, ops.F32, []int{n, v}, bad, targets, opstest.CrossEntropyOptions{}, way...)
				for i := range n {
					for j, d := range append([]float32{r.rows[i]}, r.grad[i*v:(i+1)*v]...) {
						want := append([]float32{clean[w].rows[i]}, clean[w].grad[i*v:(i+1)*v]...)[j]
						if i == 2 && !math.IsNaN(float64(d)) || i != 2 && d != want {
							t.Fatalf("way %d, row %d, value %d is %v, was %v without the broken row 2", w, i, j, d, want)
						}
					}
				}
				if !math.IsNaN(float64(r.loss[0])) {
					t.Errorf("loss is %v, want NaN", r.loss[0])
				}
			}
		})
	}
}

func TestSpec1CrossEntropyMinusInfTarget(t *testing.T) {
	dev := vktest.Open(t)
	x := opstest.Uniform(9, 2*9, 3)
	x[4] = float32(math.Inf(-1))
	want := opstest.CrossEntropy64(x, []int32{4, 1}, 9, opstest.CrossEntropyOptions{})
	for _, way := range ceWays {
		r := ceRun(t, dev, ops.F32, []int{2, 9}, x, []int32{4, 1}, opstest.CrossEntropyOptions{}, way...)
		if !math.IsInf(float64(r.rows[0]), 1) || !math.IsInf(float64(r.loss[0]), 1) {
			t.Errorf("losses %v, mean %v, want +Inf", r.rows, r.loss)
		}
		opstest.Close(t, r.grad, want.Grad, 1e-6)
	}
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
	want := opstest.CrossEntropy64(x, targets, v, opstest.CrossEntropyOptions{Ignore: &ignore})
	for _, way := range ceWays {
		r := ceRun(t, dev, ops.F32, []int{4, v}, x, targets, opstest.CrossEntropyOptions{Ignore: &ignore}, way...)
		opstest.Close(t, r.loss, []float64{want.Loss}, 2e-6)
		opstest.Close(t, r.rows, want.Rows, 2e-6)
		opstest.Close(t, r.grad, want.Grad, 1e-6)
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
