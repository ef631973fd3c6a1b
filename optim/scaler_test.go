package optim_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

var inf = float32(math.Inf(1))

// fed is an update whose gradient is a graph input: it is staged for a run
// while the one before is still going on, as a model's gradient would be.
type fed struct {
	recording
	p    *ops.Params
	a    *optim.Optimizer
	grad *ops.Tensor
	slow *ops.Tensor // an output that takes milliseconds, or nil
}

const slowRows = 128

// newFed updates one parameter that starts as init. With slow, each run takes
// milliseconds, so that the next is staged before it ends.
func newFed(t *testing.T, dev *vk.Device, dt ops.DType, init []float32, o *optim.Options, slow bool) fed {
	t.Helper()
	p := newParams(t, dev, dt, init)
	a := newOptimizer(t, p, o)
	x := p.All()[0]
	g := ops.NewGraph(dev)
	grad := g.Input("gradient", dt, x.Shape()...)
	var product *ops.Tensor
	if slow {
		m, err := ops.NewTensor(dev, ops.F32, slowRows, slowRows)
		must(t, err)
		t.Cleanup(m.Release)
		product = g.MatMul(m, m)
		g.Output(product)
	}
	g.CastTo(grad, p.Grad(x))
	u := a.Record(g)
	step, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { must(t, step.Close()) })
	return fed{recording{u, step}, p, a, grad, product}
}

func (f fed) run(t *testing.T, grad []float32) {
	t.Helper()
	must(t, ops.Upload(ctx, f.grad, grad))
	f.recording.run(t)
}

func (f fed) state(t *testing.T) optim.State {
	t.Helper()
	s, err := f.a.State(ctx)
	must(t, err)
	return s
}

// An overflow changes nothing but the scale: not a bit of parameters, moments
// and master weights, and no step count.
func TestSpecMixedPrecisionOverflowSkips(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		for _, bad := range []float32{inf, -inf, float32(math.NaN())} {
			t.Run(fmt.Sprint(dt, " ", bad), func(t *testing.T) {
				f := newFed(t, dev, dt, opstest.Uniform(1, 33, 1), &optim.Options{Scaler: &optim.Scaler{Init: 1024}}, false)
				for i := range uint32(3) {
					f.run(t, opstest.Uniform(2+i, 33, 1024))
				}
				before := stateOf(t, f.p, f.a)
				grad := opstest.Uniform(9, 33, 1024)
				grad[32] = bad
				f.run(t, grad)
				skipped, err := f.Skipped(ctx)
				must(t, err)
				norm, err := f.Norm(ctx)
				must(t, err)
				if !skipped || !math.IsNaN(norm) && !math.IsInf(norm, 1) {
					t.Errorf("skipped %v with norm %v, want true and one that is not finite", skipped, norm)
				}
				stateOf(t, f.p, f.a).sameBits(t, "after the skip", before)
				if s := f.state(t); s.Steps["p0"] != 3 || s.Scale != 512 || s.Good != 0 || s.Skips != 1 {
					t.Errorf("state %+v, want 3 steps, scale 512, no good step, 1 skip", s)
				}
				f.run(t, opstest.Uniform(10, 33, 512))
				if skipped, err := f.Skipped(ctx); err != nil || skipped {
					t.Errorf("the next step: skipped %v, %v", skipped, err)
				}
				if after := stateOf(t, f.p, f.a); opstest.RelL2(after.m, before.m) == 0 {
					t.Error("the step after the skip updates nothing")
				}
			})
		}
	}
}

// The scale halves on overflow and doubles after Interval good steps in a row.
func TestSpecMixedPrecisionScale(t *testing.T) {
	dev := vktest.Open(t)
	f := newFed(t, dev, ops.F16, []float32{1}, &optim.Options{Scaler: &optim.Scaler{Init: 64, Interval: 3}}, false)
	for i, c := range []struct {
		grad, scale float32
		good, skips uint32
	}{
		{1, 64, 1, 0}, {1, 64, 2, 0}, {1, 128, 0, 0}, // doubled
		{1, 128, 1, 0}, {inf, 64, 0, 1}, // an overflow starts the count afresh
		{1, 64, 1, 1}, {1, 64, 2, 1}, {inf, 32, 0, 2}, {inf, 16, 0, 3},
		{1, 16, 1, 3}, {1, 16, 2, 3}, {1, 32, 0, 3}, {1, 32, 1, 3},
	} {
		f.run(t, []float32{c.grad})
		if s := f.state(t); s.Scale != c.scale || s.Good != c.good || s.Skips != c.skips {
			t.Fatalf("after step %d: scale %v, good %d, skips %d, want %v, %d, %d", i+1, s.Scale, s.Good, s.Skips, c.scale, c.good, c.skips)
		}
	}
	// Growth stops below infinity, decay above 0.
	f = newFed(t, dev, ops.F32, []float32{1}, &optim.Options{Scaler: &optim.Scaler{Init: 0x1p127, Interval: 1}}, false)
	f.run(t, []float32{1})
	if s := f.state(t); s.Scale != 0x1p127 {
		t.Errorf("scale %v grew to %v", 0x1p127, s.Scale)
	}
	f = newFed(t, dev, ops.F32, []float32{1}, &optim.Options{Scaler: &optim.Scaler{Init: 1e-29, Backoff: 1e-3}}, false)
	f.run(t, []float32{inf})
	if s := f.state(t); s.Scale != 1e-30 {
		t.Errorf("scale 1e-29 fell to %v, want 1e-30", s.Scale)
	}
}

// Steps are staged before the host knows whether the last one was skipped; their
// step sizes are those of the steps really taken all the same.
func TestSpecMixedPrecisionSkipInFlight(t *testing.T) {
	dev := vktest.Open(t)
	overflow := map[int]bool{1: true, 5: true, 6: true, 7: true, 20: true, 39: true, 40: true}
	for _, torch := range []bool{false, true} {
		for _, dt := range storage {
			t.Run(fmt.Sprint(order(torch), " ", dt), func(t *testing.T) {
				const n, interval = 129, 4
				init := opstest.Uniform(1, n, 1)
				o := opstest.AdamWOptions{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Torch: torch}
				f := newFed(t, dev, dt, init, &optim.Options{Rule: optim.AdamW{Torch: torch}, MaxNorm: new(5.0),
					Scaler: &optim.Scaler{Init: 8, Interval: interval}}, true)
				f.a.Groups()[0].Hyper = hyperOf(o)
				ref := newReference(dt, init)
				product := make([]float32, slowRows*slowRows)
				scale, good, skips, pending := 8.0, uint32(0), uint32(0), 0
				for step := 1; step <= 40; step++ {
					grad := opstest.Round(dt.String(), opstest.Uniform(uint32(100+step), n, 8))
					o.LR = 1e-2 / float64(step)
					f.a.SetLR(o.LR)
					if overflow[step] {
						grad[n/2] = inf
						f.run(t, grad)
						scale, good, skips = scale/2, 0, skips+1
					} else {
						f.run(t, grad)
						norm := opstest.Norm64(grad) / scale
						ref[0].Step(scaled(grad, opstest.ClipScale64(norm, 5)/scale), o)
						if good++; good == interval {
							scale, good = scale*2, 0
						}
					}
					finished, err := ops.Completed(f.step, f.slow, product)
					must(t, err)
					if finished < int64(step) {
						pending++
					}
				}
				if pending == 0 {
					t.Error("no step was in flight when the next was staged: the test shows nothing")
				}
				t.Logf("%d of 40 steps staged with the last in flight", pending)
				s := stateOf(t, f.p, f.a)
				near(t, "parameters", s.master, ref.p(), 1e-6)
				near(t, "first moments", s.m, ref.m(), 1e-6)
				near(t, "second moments", s.v, ref.v(), 1e-6)
				if got := f.state(t); got.Steps["p0"] != int64(ref[0].Steps) || got.Scale != float32(scale) || got.Good != good || got.Skips != skips {
					t.Errorf("state %+v, want %d steps, scale %v, %d good, %d skips", got, ref[0].Steps, scale, good, skips)
				}
			})
		}
	}
}

func scaled(x []float32, s float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v) * s
	}
	return y
}

// Gradients that f16 can't hold at the first scale: training starts as soon as
// the scale has come down to where it can.
func TestSpecMixedPrecisionF16FindsScale(t *testing.T) {
	dev := vktest.Open(t)
	const v, n, first = 8, 64, 1 << 26 // scale/n, the gradient of a logit, overflows above 2^22
	p := ops.NewParams(dev, ops.F16)
	table := p.Add("table", v, v)
	must(t, p.Alloc())
	t.Cleanup(p.Release)
	a := newOptimizer(t, p, &optim.Options{Scaler: &optim.Scaler{Init: first}})
	a.SetLR(0.1)
	g := ops.NewGraph(dev)
	ids, targets := g.Input("ids", ops.I32, n), g.Input("targets", ops.I32, n)
	loss := g.CrossEntropy(g.Embed(table, ids), targets, nil)
	g.Output(loss)
	g.Backward(loss, nil)
	u := a.Record(g)
	step, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { must(t, step.Close()) })
	x := make([]int32, n)
	y := make([]int32, n)
	for i := range x {
		x[i], y[i] = int32(i%v), int32((i+1)%v)
	}
	must(t, ops.Upload(ctx, ids, x))
	must(t, ops.Upload(ctx, targets, y))
	const steps = 40
	for range steps {
		recording{u, step}.run(t)
	}
	l, err := ops.Item(ctx, loss)
	must(t, err)
	s, err := a.State(ctx)
	must(t, err)
	if s.Skips < 3 || s.Skips > 8 || s.Scale != first/float32(int(1)<<s.Skips) || s.Steps["table"] != steps-int64(s.Skips) {
		t.Errorf("state %+v after %d steps, want 3 to 8 skips that halve the scale", s, steps)
	}
	if !(l < 0.5) {
		t.Errorf("loss %v after %d steps, want it to have fallen from log %d", l, steps, v)
	}
}

// Without a scaler a step with a norm that is not finite is skipped as well,
// unless KeepNonFinite asks for it.
func TestSpec4SkipWithoutScaler(t *testing.T) {
	dev := vktest.Open(t)
	f := newFed(t, dev, ops.F32, []float32{1, 2}, &optim.Options{MaxNorm: new(1.0)}, false)
	f.run(t, []float32{inf, 0})
	sameBits(t, "parameter", stateOf(t, f.p, f.a).p, []float32{1, 2})
	if s := f.state(t); s.Steps["p0"] != 0 || s.Skips != 1 || s.Scale != 1 {
		t.Errorf("state %+v, want no step, 1 skip, scale 1", s)
	}

	f = newFed(t, dev, ops.F32, []float32{1, 2}, &optim.Options{MaxNorm: new(1.0), KeepNonFinite: true}, false)
	f.run(t, []float32{inf, 0})
	skipped, err := f.Skipped(ctx)
	must(t, err)
	norm, err := f.Norm(ctx)
	must(t, err)
	if got := stateOf(t, f.p, f.a); skipped || !math.IsInf(norm, 1) || !math.IsInf(float64(got.m[0]), 1) || got.p[1] != 2 {
		t.Errorf("KeepNonFinite: skipped %v, norm %v, state %+v: want the infinite gradient applied, the zero one left alone", skipped, norm, got)
	}
	if s := f.state(t); s.Steps["p0"] != 1 || s.Skips != 0 {
		t.Errorf("KeepNonFinite: state %+v, want 1 step and no skip", s)
	}
}

// A gradient whose square overflows the second moment, after which its value
// would never move again, is skipped like one that is not finite; clipped to
// less it is applied.
func TestSpec4SkipOverflowingSquares(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		grad    float32
		options optim.Options
		skipped bool
	}{
		{1e19, optim.Options{}, false},
		{1e20, optim.Options{}, true},
		{-1e20, optim.Options{MaxNorm: new(1e30)}, true},
		{1e20, optim.Options{MaxNorm: new(1.0)}, false},
		{1e20, optim.Options{KeepNonFinite: true}, false},
	} {
		f := newFed(t, dev, ops.F32, []float32{1, 2}, &c.options, false)
		f.run(t, []float32{c.grad, 0})
		skipped, err := f.Skipped(ctx)
		must(t, err)
		norm, err := f.Norm(ctx)
		must(t, err)
		if want := math.Abs(float64(c.grad)); skipped != c.skipped || math.Abs(norm-want) > 1e-6*want {
			t.Errorf("gradient %g, %+v: skipped %v with norm %v, want %v with %v", c.grad, c.options, skipped, norm, c.skipped, want)
		}
		got := stateOf(t, f.p, f.a)
		if moved := got.p[0] != 1; moved != (c.grad == 1e19 || c.options.MaxNorm != nil && *c.options.MaxNorm == 1) {
			t.Errorf("gradient %g, %+v: value is %v", c.grad, c.options, got.p[0])
		}
		if c.options.KeepNonFinite != math.IsInf(float64(got.v[0]), 1) {
			t.Errorf("gradient %g, %+v: second moment %v", c.grad, c.options, got.v[0])
		}
	}
}

// A token id outside the vocabulary stops updates until Wait has reported it;
// then training goes on as if the steps had not been.
func TestSpec1BadIndexSkipsUpdate(t *testing.T) {
	dev := vktest.Open(t)
	const v, n = 8, 6
	type run struct {
		ids, targets *ops.Tensor
		recording
		p *ops.Params
		a *optim.Optimizer
	}
	start := func() run {
		p := ops.NewParams(dev, ops.F32)
		e := p.Add("table", v, v)
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		must(t, ops.Upload(ctx, e, opstest.Uniform(5, v*v, 1)))
		a := newOptimizer(t, p, &optim.Options{MaxNorm: new(0.1), Scaler: &optim.Scaler{Init: 16, Interval: 2}})
		g := ops.NewGraph(dev)
		ids, targets := g.Input("ids", ops.I32, n), g.Input("targets", ops.I32, n)
		g.Backward(g.CrossEntropy(g.Embed(e, ids), targets, nil), nil)
		u := a.Record(g)
		step, err := g.Compile()
		must(t, err)
		t.Cleanup(func() { must(t, step.Close()) })
		return run{ids, targets, recording{u, step}, p, a}
	}
	feed := func(r run, stream uint32, bad int32) {
		ids := opstest.IDs(stream, n, v)
		if bad >= 0 {
			ids[3] = bad
		}
		must(t, ops.Upload(ctx, r.ids, ids))
		must(t, ops.Upload(ctx, r.targets, opstest.IDs(stream+1000, n, v)))
		r.run(t)
	}
	good, bad := start(), start()
	for i := range uint32(6) {
		feed(good, i, -1)
		feed(bad, i, -1)
		if i == 2 {
			feed(bad, 50, v)  // reported by Wait
			feed(bad, 51, -1) // in flight after it
			var e *ops.BadIndexError
			if err := bad.step.Wait(ctx); !errors.As(err, &e) || e.Position != 3 || e.Value != v {
				t.Errorf("Wait: %v, want index %d at position 3", err, v)
			}
		}
	}
	must(t, good.step.Wait(ctx))
	must(t, bad.step.Wait(ctx))
	stateOf(t, bad.p, bad.a).sameBits(t, "with skipped steps", stateOf(t, good.p, good.a))
	want, err := good.a.State(ctx)
	must(t, err)
	got, err := bad.a.State(ctx)
	must(t, err)
	if got.Steps["table"] != 6 || got.Skips != 2 || got.Scale != want.Scale || got.Good != want.Good {
		t.Errorf("state %+v, want that of the undisturbed run, %+v, and 2 skips", got, want)
	}
}
