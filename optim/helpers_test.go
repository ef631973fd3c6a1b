package optim_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestMain(m *testing.M) { vktest.Main(m) }

var ctx = context.Background()

var storage = []ops.DType{ops.F32, ops.F16, ops.BF16}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newParams makes a set of parameters named p0, p1, … that start as inits. One
// whose length is a multiple of 5 gets rows of 5 values, which are padded.
func newParams(t testing.TB, dev *vk.Device, dt ops.DType, inits ...[]float32) *ops.Params {
	t.Helper()
	p := ops.NewParams(dev, dt)
	for i, init := range inits {
		if n := len(init); n%5 == 0 {
			p.Add(fmt.Sprintf("p%d", i), n/5, 5)
		} else {
			p.Add(fmt.Sprintf("p%d", i), n)
		}
	}
	must(t, p.Alloc())
	t.Cleanup(p.Release)
	for i, x := range p.All() {
		must(t, ops.Upload(ctx, x, inits[i]))
	}
	return p
}

// newOptimizer is NewAdamW for a test that releases it.
func newOptimizer(t testing.TB, p *ops.Params, o *optim.Options) *optim.Optimizer {
	t.Helper()
	a, err := optim.NewAdamW(p, o)
	must(t, err)
	t.Cleanup(a.Release)
	return a
}

// recording is an update compiled by itself: gradients come from the arena.
type recording struct {
	*optim.Update
	step *ops.Step
}

// record compiles a graph that only updates params, by default all.
func record(t testing.TB, a *optim.Optimizer, dev *vk.Device, params ...*ops.Tensor) recording {
	t.Helper()
	g := ops.NewGraph(dev)
	u := a.Record(g, params...)
	step, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { must(t, step.Close()) })
	return recording{u, step}
}

// run stages and submits one step.
func (r recording) run(t testing.TB) {
	t.Helper()
	must(t, r.Stage(r.step))
	must(t, r.step.Run())
}

// setGrads uploads the gradients of all parameters. A nil one is set to NaN:
// nothing may read it.
func setGrads(t testing.TB, p *ops.Params, grads [][]float32) {
	t.Helper()
	arenas := make([][]float32, len(p.Banks()))
	for b, bank := range p.Banks() {
		arenas[b] = make([]float32, bank.Grads.Len())
	}
	for i, x := range p.All() {
		b, off4, _ := p.Place(x)
		cols := x.Shape()[len(x.Shape())-1]
		for j := range x.Len() {
			at := &arenas[b][off4*4+j/cols*((cols+3)/4*4)+j%cols]
			if *at = float32(math.NaN()); grads[i] != nil {
				*at = grads[i][j]
			}
		}
	}
	for b, bank := range p.Banks() {
		must(t, ops.Upload(ctx, bank.Grads, arenas[b]))
	}
}

func download(t testing.TB, x *ops.Tensor) []float32 {
	t.Helper()
	out := make([]float32, x.Len())
	must(t, ops.Download(ctx, x, out))
	return out
}

// moments returns what AdamW keeps of x, nil where it keeps nothing.
func moments(a *optim.Optimizer, x *ops.Tensor) (m, v, master *ops.Tensor) {
	for _, s := range a.Slots(x) {
		switch s.Name {
		case "adamw.m":
			m = s.Tensor
		case "adamw.v":
			v = s.Tensor
		case "adamw.master":
			master = s.Tensor
		}
	}
	return m, v, master
}

// state is the concatenated parameters, moments and f32 parameters of a set.
type state struct{ p, m, v, master []float32 }

func stateOf(t testing.TB, p *ops.Params, a *optim.Optimizer) state {
	t.Helper()
	var s state
	for _, x := range p.All() {
		m, v, master := moments(a, x)
		s.p = append(s.p, download(t, x)...)
		s.m = append(s.m, download(t, m)...)
		s.v = append(s.v, download(t, v)...)
		if master == nil {
			master = x
		}
		s.master = append(s.master, download(t, master)...)
	}
	return s
}

// sameBits fails t where the two states differ in a bit.
func (s state) sameBits(t testing.TB, what string, want state) {
	t.Helper()
	for _, part := range []struct {
		name      string
		got, want []float32
	}{{"parameter", s.p, want.p}, {"first moment", s.m, want.m}, {"second moment", s.v, want.v}, {"master", s.master, want.master}} {
		sameBits(t, what+": "+part.name, part.got, part.want)
	}
}

func sameBits(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Errorf("%s %d is %v (%#x), want %v (%#x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
			return
		}
	}
}

// near fails t when got is further than tol, relative L2, from want.
func near(t testing.TB, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if e := opstest.RelL2(got, want); !(e <= tol) {
		t.Errorf("%s: relative L2 error %.3g, want at most %.3g", what, e, tol)
	}
}

// reference is AdamW in float64 for a set.
type reference []*opstest.AdamW64

func newReference(dt ops.DType, inits ...[]float32) reference {
	var r reference
	for _, init := range inits {
		r = append(r, opstest.NewAdamW64(opstest.Round(dt.String(), init)))
	}
	return r
}

// step updates every tensor that has a gradient.
func (r reference) step(grads [][]float32, o opstest.AdamWOptions) {
	for i, g := range grads {
		if g != nil {
			r[i].Step(opstest.F64(g), o)
		}
	}
}

// p, m and v concatenate the tensors.
func (r reference) p() []float64 { return r.join(func(a *opstest.AdamW64) []float64 { return a.P }) }
func (r reference) m() []float64 { return r.join(func(a *opstest.AdamW64) []float64 { return a.M }) }
func (r reference) v() []float64 { return r.join(func(a *opstest.AdamW64) []float64 { return a.V }) }

func (r reference) join(part func(*opstest.AdamW64) []float64) []float64 {
	var all []float64
	for _, a := range r {
		all = append(all, part(a)...)
	}
	return all
}

// hyperOf translates the reference's options.
func hyperOf(o opstest.AdamWOptions) optim.Hyper {
	exact := func(v float64) float64 { return cmp.Or(v, optim.Zero) }
	return optim.Hyper{LR: o.LR, Beta1: exact(o.Beta1), Beta2: exact(o.Beta2), Eps: exact(o.Eps), WeightDecay: o.Decay}
}

// order names the order of AdamW's operations.
func order(torch bool) string {
	if torch {
		return "torch"
	}
	return "document"
}
