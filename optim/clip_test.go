package optim_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// clipInputs is the gradients of a golden case as dt stores them, and their norm.
func clipInputs(c opstest.ClipCase, dt ops.DType) (grads [][]float32, norm float64) {
	for _, g := range c.Grads() {
		grads = append(grads, opstest.Round(dt.String(), g))
	}
	return grads, opstest.Norm64(grads...)
}

// checkClipped compares gradients in dt with before·scale, entry by entry.
func checkClipped(t *testing.T, dt ops.DType, got, before []float32, scale float64) {
	t.Helper()
	smallest := map[ops.DType]float64{ops.F32: 0x1p-126, ops.F16: 0x1p-24, ops.BF16: 0x1p-126}[dt] // below it, values may be flushed or coarse
	for i, g := range before {
		want := float64(g) * scale
		if d := math.Abs(float64(got[i]) - want); !(d <= smallest || d <= math.Abs(want)*(1e-6+opstest.Epsilon(dt.String()))) {
			t.Errorf("gradient %d is %v, want %v", i, got[i], want)
			return
		}
	}
}

// In-place clipping against PyTorch in float64: norms of 1e30 and 1e-30
// entries, mixtures, zeros, a norm equal to the limit, a limit of 0.
func TestSpec4ClipGradNormGolden(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		for _, c := range opstest.ClipCases(t) {
			grads, norm := clipInputs(c, dt)
			if math.IsInf(norm, 0) || math.IsNaN(norm) {
				continue // the case's values do not exist in dt
			}
			t.Run(fmt.Sprint(dt, " ", c), func(t *testing.T) {
				p := newParams(t, dev, dt, grads...)
				for _, want := range c.Clips {
					setGrads(t, p, grads)
					got, err := optim.ClipGradNorm(ctx, p, want.MaxNorm)
					must(t, err)
					if e := opstest.RelErr(got, norm); !(e <= 5e-7) {
						t.Errorf("norm %v, want %v: off by %.3g", got, norm, e)
					}
					var after, before []float32
					for i, x := range p.All() {
						after, before = append(after, download(t, p.Grad(x))...), append(before, grads[i]...)
					}
					scale := opstest.ClipScale64(norm, want.MaxNorm)
					checkClipped(t, dt, after, before, scale)
					if scale == 1 {
						sameBits(t, "gradient", after, before)
					}
					if dt == ops.F32 {
						if e := opstest.RelErr(norm, c.Norm); !(e <= 1e-9) || opstest.RelErr(scale, want.Scale) > 1e-9 {
							t.Fatalf("reference: norm %v and scale %v, PyTorch has %v and %v", norm, scale, c.Norm, want.Scale)
						}
						if want.Grad.Norm == 0 || want.Grad.Norm > 0x1p-126 { // f32 has no smaller ones
							opstest.CheckL2(t, "clipped gradients", after, want.Grad, 1e-6)
						}
					}
				}
			})
		}
	}
}

// The same factors, folded into the update. With β1 = 0 the first moment is the
// clipped gradient; steps whose second moment overflows are not skipped.
func TestSpec4ClipInsideUpdate(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage {
		for _, c := range opstest.ClipCases(t) {
			grads, norm := clipInputs(c, dt)
			if math.IsInf(norm, 0) || math.IsNaN(norm) || len(grads) > 50 {
				continue
			}
			t.Run(fmt.Sprint(dt, " ", c), func(t *testing.T) {
				p := newParams(t, dev, dt, grads...)
				setGrads(t, p, grads)
				for _, want := range c.Clips {
					a := newOptimizer(t, p, &optim.Options{MaxNorm: &want.MaxNorm, KeepNonFinite: true,
						Groups: []optim.Group{{Params: p.All(), Hyper: optim.Hyper{Beta1: optim.Zero, Beta2: optim.Zero}}}})
					a.SetLR(0)
					r := record(t, a, dev)
					r.run(t)
					got, err := r.Norm(ctx)
					must(t, err)
					if e := opstest.RelErr(got, norm); !(e <= 5e-7) {
						t.Errorf("norm %v, want %v: off by %.3g", got, norm, e)
					}
					var before []float32
					for _, g := range grads {
						before = append(before, g...)
					}
					checkClipped(t, ops.F32, stateOf(t, p, a).m, before, opstest.ClipScale64(norm, want.MaxNorm))
					a.Release()
				}
			})
		}
	}
}

// A norm that is not finite is reported, and nothing is multiplied by it.
func TestSpec4NonFiniteNorm(t *testing.T) {
	dev := vktest.Open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, dt := range storage {
		for _, bad := range [][]float32{{inf}, {-inf}, {nan}, {inf, nan}, {inf, -inf}} {
			first, second := make([]float32, 1000), append([]float32{3, 4}, bad...)
			p := newParams(t, dev, dt, first, second)
			setGrads(t, p, [][]float32{first, second})
			norm, err := optim.ClipGradNorm(ctx, p, 1)
			must(t, err)
			want := math.Inf(1)
			if bad[len(bad)-1] != bad[len(bad)-1] {
				want = math.NaN()
			}
			if opstest.RelErr(norm, want) != 0 {
				t.Errorf("%v: norm of %v is %v, want %v", dt, second, norm, want)
			}
			opstest.Close(t, download(t, p.Grad(p.All()[1])), second, 0)
		}
	}
	// Finite entries whose norm f32 can't hold.
	big := []float32{3e38, 3e38, 3e38, 3e38}
	p := newParams(t, dev, ops.F32, big)
	setGrads(t, p, [][]float32{big})
	norm, err := optim.ClipGradNorm(ctx, p, 1)
	must(t, err)
	if !math.IsInf(norm, 1) {
		t.Errorf("norm of %v is %v, want +Inf", big, norm)
	}
	sameBits(t, "gradient", download(t, p.Grad(p.All()[0])), big)
}

// A subset of the parameters, and a tied weight named twice, which counts and
// is scaled once.
func TestSpec4RepeatedParametersCountOnce(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, []float32{3}, []float32{4}, []float32{100})
	x := p.All()
	setGrads(t, p, [][]float32{{3}, {4}, {100}})
	norm, err := optim.ClipGradNorm(ctx, p, 2.5, x[0], x[1], x[0], x[0])
	must(t, err)
	if norm != 5 {
		t.Errorf("norm %v, want 5", norm)
	}
	for i, want := range []float64{1.5, 2, 100} {
		if got := download(t, p.Grad(x[i]))[0]; opstest.RelErr(float64(got), want) > 1e-6 {
			t.Errorf("gradient %d is %v, want %v", i, got, want)
		}
	}
}

func TestSpec4ClipErrors(t *testing.T) {
	dev := vktest.Open(t)
	p := newParams(t, dev, ops.F32, []float32{1})
	other := newParams(t, dev, ops.F32, []float32{1})
	unallocated := ops.NewParams(dev, ops.F32)
	unallocated.Add("x", 1)
	for _, c := range []struct {
		p    *ops.Params
		max  float64
		of   []*ops.Tensor
		want string
	}{
		{p, -1, nil, "MaxNorm is -1"},
		{p, math.Inf(-1), nil, "MaxNorm is -Inf"},
		{p, math.NaN(), nil, "MaxNorm is NaN"},
		{p, 1, other.All(), "parameter 0 (p0 f32[1]) is not of this set"},
		{p, 1, []*ops.Tensor{p.All()[0], nil}, "parameter 1 (nil) is not of this set"},
		{unallocated, 1, nil, "has no memory yet"},
		{ops.NewParams(dev, ops.F32), 1, nil, "has no parameters"},
		{nil, 1, nil, "no parameter set"},
	} {
		if _, err := optim.ClipGradNorm(ctx, c.p, c.max, c.of...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("maxNorm %v: error %v, want one with %q", c.max, err, c.want)
		}
	}
}

// Norm, clipping and update of any number of tensors are three dispatches and
// one submission, and the host allocates nothing.
func TestSpec4ThreeDispatches(t *testing.T) {
	vktest.Slow(t, 0) // by its clock: steps on a slow device, or a busy one, are several submissions
	dev := vktest.Open(t)
	for _, n := range []int{1, 1000, 10000} {
		for _, dt := range storage {
			p := ops.NewParams(dev, dt)
			for i := range n {
				p.Add(fmt.Sprintf("p%d", i), 1+i%7)
			}
			must(t, p.Alloc())
			t.Cleanup(p.Release)
			a := newOptimizer(t, p, &optim.Options{MaxNorm: new(1.0), Scaler: &optim.Scaler{Init: 1}})
			must(t, ops.Upload(ctx, p.Grad(p.All()[0]), []float32{1}))
			r := record(t, a, dev)
			if s := r.step.Stats(); s.Dispatches != 3 || s.Submissions != 1 {
				t.Errorf("%d tensors of %v: %d dispatches in %d submissions, want 3 in 1", n, dt, s.Dispatches, s.Submissions)
			}
			const runs = 4
			r.run(t)
			before := dev.Stats().Submissions
			rate := 0.0
			measured := 0
			allocs := vktest.AllocsPerRun(runs, func() {
				measured++
				rate += 1e-3
				a.SetLR(rate)
				if err := r.Stage(r.step); err != nil {
					t.Fatal(err)
				}
				if err := r.step.Run(); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%d tensors of %v: a step allocates %v times, want 0", n, dt, allocs)
			}
			if got := dev.Stats().Submissions - before; int(got) != measured {
				t.Errorf("%d tensors of %v: %d submissions in %d steps", n, dt, got, measured)
			}
			st, err := a.State(ctx)
			must(t, err)
			if st.Steps["p0"] != int64(measured+1) || len(st.Steps) != n {
				t.Errorf("%d tensors of %v: %d of them counted, the first %d steps; want all and %d", n, dt, len(st.Steps), st.Steps["p0"], measured+1)
			}
		}
	}
}
