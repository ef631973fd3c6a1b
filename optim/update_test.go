package optim_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// A tied weight is one parameter with one gradient, the sum over its uses: it
// counts in the norm once and moves once.
func TestSpec2TiedWeightsMoveOnce(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		const v, d = 7, 5
		p := ops.NewParams(dev, dt)
		e := p.Add("embedding", v, d)
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		init := opstest.Round(dt.String(), opstest.Uniform(3, v*d, 1))
		must(t, ops.Upload(ctx, e, init))
		a := newOptimizer(t, p, nil)
		g := ops.NewGraph(dev)
		ids, targets := g.Input("ids", ops.I32, 6), g.Input("targets", ops.I32, 6)
		g.Backward(g.LinearCrossEntropy(g.Embed(e, ids), e, targets, nil), nil)
		u := a.Record(g)
		step, err := g.Compile()
		must(t, err)
		t.Cleanup(func() { must(t, step.Close()) })
		must(t, ops.Upload(ctx, ids, opstest.IDs(1, 6, v)))
		must(t, ops.Upload(ctx, targets, opstest.IDs(2, 6, v)))
		recording{u, step}.run(t)

		x := opstest.Embed64(init, opstest.IDs(1, 6, v), d)
		r := opstest.LinearCrossEntropy64(opstest.F32(x), init, opstest.IDs(2, 6, v), d, v, opstest.CrossEntropyOptions{})
		grad := opstest.EmbedBackward64(r.DHidden, opstest.IDs(1, 6, v), v, d)
		for i, dw := range r.DWeight {
			grad[i] += dw
		}
		tol := 2e-6 + 3*opstest.Epsilon(dt.String()) // the gradient is stored in dt
		norm, err := u.Norm(ctx)
		must(t, err)
		if e := opstest.RelErr(norm, opstest.Norm64(grad)); !(e <= tol) {
			t.Errorf("%v: norm %v, want %v", dt, norm, opstest.Norm64(grad))
		}
		// The first step of Adam moves by about the rate whatever the gradient:
		// a second one, or one of twice the gradient, shows in the moments.
		m, second, _ := moments(a, e)
		near(t, dt.String()+" first moment", download(t, m), scaled(opstest.F32(grad), 0.1), tol)
		for i := range grad {
			grad[i] *= grad[i] * 0.05
		}
		near(t, dt.String()+" second moment", download(t, second), grad, 2*tol)
		s, err := a.State(ctx)
		must(t, err)
		if s.Steps["embedding"] != 1 {
			t.Errorf("%v: %d steps, want 1", dt, s.Steps["embedding"])
		}
	}
}

// Only parameters that the loss depends on are updated; the others keep their
// values, moments and step count, decay included.
func TestSpec2ParametersWithoutGradient(t *testing.T) {
	dev := vktest.Open(t)
	const v = 6
	p := ops.NewParams(dev, ops.F32)
	used, unused := p.Add("used", v, v), p.Add("unused", v, v)
	must(t, p.Alloc())
	t.Cleanup(p.Release)
	init := opstest.Uniform(1, v*v, 1)
	for _, x := range p.All() {
		must(t, ops.Upload(ctx, x, init))
		must(t, ops.Upload(ctx, p.Grad(x), init)) // left over from something else
	}
	h := optim.DefaultHyper()
	h.WeightDecay = 0.1
	a := newOptimizer(t, p, &optim.Options{Groups: []optim.Group{{Params: p.All(), Hyper: h}}})
	g := ops.NewGraph(dev)
	ids := g.Input("ids", ops.I32, 4)
	must(t, ops.Upload(ctx, ids, make([]int32, 4)))
	g.Backward(g.CrossEntropy(g.Embed(used, ids), ids, nil), nil)
	u := a.Record(g)
	step, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { must(t, step.Close()) })
	for range 3 {
		recording{u, step}.run(t)
	}
	sameBits(t, "the parameter without gradient", download(t, unused), init)
	m, _, _ := moments(a, unused)
	sameBits(t, "its moment", download(t, m), make([]float32, v*v))
	if opstest.RelL2(download(t, used), init) == 0 {
		t.Error("the parameter with a gradient did not move")
	}
	s, err := a.State(ctx)
	must(t, err)
	if s.Steps["used"] != 3 || s.Steps["unused"] != 0 {
		t.Errorf("steps %v, want 3 of the used one alone", s.Steps)
	}
}

// ε = 0 is allowed. A value that never had a gradient stays as it is, and the
// padding of rows stays zero: 0/0 would spread from there.
func TestSpec2EpsilonZero(t *testing.T) {
	dev := vktest.Open(t)
	for _, torch := range []bool{false, true} {
		init, grad := opstest.Uniform(1, 15, 1), opstest.Uniform(2, 15, 1)
		grad[7] = 0
		p := newParams(t, dev, ops.F32, init)
		a := newOptimizer(t, p, &optim.Options{Rule: optim.AdamW{Torch: torch}, Groups: []optim.Group{{Params: p.All(), Hyper: optim.Hyper{LR: 1e-3, Eps: optim.Zero}}}})
		r := record(t, a, dev)
		ref := newReference(ops.F32, init)
		for range 3 {
			setGrads(t, p, [][]float32{grad})
			r.run(t)
			ref.step([][]float32{grad}, opstest.AdamWOptions{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Torch: torch})
		}
		want := ref.p()
		want[7] = float64(init[7])
		near(t, order(torch), download(t, p.All()[0]), want, 1e-6)
		bank := download(t, p.Banks()[0].Values)
		for row := range 3 {
			for col := 5; col < 8; col++ { // rows of 5 values take 8
				if x := bank[row*8+col]; math.Float32bits(x) != 0 {
					t.Errorf("%v: padding of row %d is %v, want 0", order(torch), row, x)
				}
			}
		}
	}
}

// The update kernel for every pair of storage types of parameter and gradient, with
// moments that lie elsewhere in their arenas.
func TestSpec2StorageTypes(t *testing.T) {
	dev := vktest.Open(t)
	const n, steps, before = 301, 5, 12
	const b1, b2, eps, decay, rate = 0.9, 0.95, 1e-8, 0.1, 1e-2
	tensor := func(dt ops.DType, shape ...int) *ops.Tensor {
		x, err := ops.NewTensor(dev, dt, shape...)
		must(t, err)
		t.Cleanup(x.Release)
		return x
	}
	for _, pt := range storage {
		for _, gt := range slices.Compact([]ops.DType{ops.F32, pt}) {
			t.Run(fmt.Sprint(pt, " ", gt), func(t *testing.T) {
				init := opstest.Uniform(1, n, 1)
				param, grad, m, v := tensor(pt, n), tensor(gt, n), tensor(ops.F32, before+n), tensor(ops.F32, before+n)
				chunks, hyper, clip := tensor(ops.U32, 2, 4), tensor(ops.F32, 16), tensor(ops.F32, 8)
				must(t, ops.Upload(ctx, param, init))
				must(t, ops.Upload(ctx, chunks, []uint32{0, 50, 0, 3, 50, 26, 0, 53})) // 76 groups of four
				must(t, ops.Upload(ctx, clip, []float32{1, 0.5, 0, 1, 0, 0, 0, 0}))
				args := []*ops.Tensor{chunks, hyper, clip, grad, m, v, param}
				master, skipped := param, 0
				if pt != ops.F32 {
					master, skipped = tensor(ops.F32, before+n), before
					must(t, ops.Upload(ctx, master, append(make([]float32, before), opstest.Round(pt.String(), init)...)))
					args = append(args, master)
				}
				g := ops.NewGraph(dev)
				g.Dispatch("adamw", ops.Call{Kernel: fmt.Sprintf("adamw.%v_%v", gt, pt), Groups: 2, Push: struct{ Chunks uint32 }{2}, Args: args})
				step, err := g.Compile()
				must(t, err)
				defer step.Close()
				ref := newReference(pt, init)
				for k := 1; k <= steps; k++ {
					x := opstest.Round(gt.String(), opstest.Uniform(uint32(10+k), n, 1))
					must(t, ops.Upload(ctx, grad, x))
					h := make([]float32, 16)
					size := rate * math.Sqrt(1-math.Pow(b2, float64(k))) / (1 - math.Pow(b1, float64(k)))
					copy(h, opstest.F32([]float64{b1, 1 - b1, b2, 1 - b2, eps, rate * decay, 0, 0, size, 1}))
					must(t, ops.Upload(ctx, hyper, h))
					must(t, step.Run())
					ref[0].Step(scaled(x, 0.5), opstest.AdamWOptions{LR: rate, Beta1: b1, Beta2: b2, Eps: eps, Decay: decay})
				}
				must(t, step.Wait(ctx))
				near(t, "parameter", download(t, master)[skipped:], ref.p(), 1e-6)
				near(t, "first moment", download(t, m)[before:], ref.m(), 1e-6)
				near(t, "second moment", download(t, v)[before:], ref.v(), 1e-6)
				sameBits(t, "stored value", download(t, param), opstest.Round(pt.String(), download(t, master)[skipped:]))
			})
		}
	}
}
