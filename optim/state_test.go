package optim_test

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// A run that is saved after 7 steps and restored into fresh objects goes on bit
// for bit, with tensors of different step counts and skipped steps on both sides.
func TestSpec6StateResumesBitForBit(t *testing.T) {
	dev := vktest.Open(t)
	sizes := []int{33, 5, 128}
	for _, dt := range storage {
		for _, torch := range []bool{false, true} {
			t.Run(fmt.Sprint(dt, " ", order(torch)), func(t *testing.T) {
				type run struct {
					p         *ops.Params
					a         *optim.Optimizer
					all, some recording
				}
				start := func(seed uint32) run {
					var inits [][]float32
					for i, n := range sizes {
						inits = append(inits, opstest.Uniform(seed+uint32(i), n, 1))
					}
					p := newParams(t, dev, dt, inits...)
					x, h := p.All(), optim.DefaultHyper()
					other := optim.Hyper{LR: 2e-3, Beta1: 0.8, Beta2: 0.99, Eps: 1e-6, WeightDecay: 0.1}
					a := newOptimizer(t, p, &optim.Options{Rule: optim.AdamW{Torch: torch}, MaxNorm: new(1.0), Scaler: &optim.Scaler{Init: 32, Interval: 4},
						Groups: []optim.Group{{Params: x[:2], Hyper: h}, {Params: x[2:], Hyper: other}}})
					return run{p, a, record(t, a, dev), record(t, a, dev, x[0], x[2])}
				}
				step := func(r run, k int) {
					var grads [][]float32
					for i, n := range sizes {
						grads = append(grads, opstest.Uniform(uint32(100*k+i), n, 32))
					}
					if k == 4 || k == 10 {
						grads[0][1] = inf
					}
					setGrads(t, r.p, grads)
					if k == 2 || k == 9 {
						r.some.run(t)
					} else {
						r.all.run(t)
					}
				}
				whole, first := start(1), start(1)
				for k := range 7 {
					step(whole, k)
					step(first, k)
				}
				saved, err := first.a.State(ctx)
				must(t, err)
				if want := map[string]int64{"p0": 6, "p1": 5, "p2": 6}; !maps.Equal(saved.Steps, want) || saved.Skips != 1 {
					t.Errorf("state %+v, want steps %v and 1 skip", saved, want)
				}
				resumed := start(50)
				step(resumed, 90) // it has even run before
				for i, x := range first.p.All() {
					y := resumed.p.All()[i]
					must(t, ops.Upload(ctx, y, download(t, x)))
					m, v, master := moments(first.a, x)
					m2, v2, master2 := moments(resumed.a, y)
					must(t, ops.Upload(ctx, m2, download(t, m)))
					must(t, ops.Upload(ctx, v2, download(t, v)))
					if master != nil {
						must(t, ops.Upload(ctx, master2, download(t, master)))
					}
				}
				must(t, resumed.a.SetState(ctx, saved))
				for k := 7; k < 14; k++ {
					step(whole, k)
					step(resumed, k)
				}
				stateOf(t, resumed.p, resumed.a).sameBits(t, "resumed", stateOf(t, whole.p, whole.a))
				want, err := whole.a.State(ctx)
				must(t, err)
				got, err := resumed.a.State(ctx)
				must(t, err)
				if !maps.Equal(got.Steps, want.Steps) || got.Scale != want.Scale || got.Good != want.Good || got.Skips != want.Skips {
					t.Errorf("resumed state %+v, want %+v", got, want)
				}
			})
		}
	}
}

// SetState refuses what does not fit and changes nothing then.
func TestSpec6SetStateErrors(t *testing.T) {
	dev := vktest.Open(t)
	f := newFed(t, dev, ops.F32, []float32{1, 2}, &optim.Options{Scaler: &optim.Scaler{Init: 4}}, false)
	f.run(t, []float32{1, 2})
	before := f.state(t)
	for _, c := range []struct {
		state optim.State
		want  string
	}{
		{optim.State{Steps: map[string]int64{"p0": 3, "q": 3}, Scale: 1}, `"q"`},
		{optim.State{Steps: map[string]int64{"p0": -3}, Scale: 1}, `"p0" with -3 steps`},
		{optim.State{Scale: 0}, "loss scale is 0"},
		{optim.State{Scale: -1}, "loss scale is -1"},
		{optim.State{Scale: inf}, "loss scale is +Inf"},
		{optim.State{Scale: float32(math.NaN())}, "loss scale is NaN"},
	} {
		if err := f.a.SetState(ctx, c.state); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.state, err, c.want)
		}
		if s := f.state(t); !maps.Equal(s.Steps, before.Steps) || s.Scale != before.Scale || s.Good != before.Good {
			t.Fatalf("a refused state left %+v, want %+v", s, before)
		}
	}
	// Without a scaler the scale stays 1, whatever the saved run had.
	f = newFed(t, dev, ops.F32, []float32{1, 2}, nil, false)
	must(t, f.a.SetState(ctx, optim.State{Steps: map[string]int64{"p0": 9}, Scale: 1024, Skips: 3}))
	if s := f.state(t); s.Scale != 1 || s.Steps["p0"] != 9 || s.Skips != 3 {
		t.Errorf("state %+v, want scale 1, 9 steps, 3 skips", s)
	}
}
