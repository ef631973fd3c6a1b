package optim_test

import (
	"fmt"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// Values that a parameter is given after the optimizer was made, whoever gives them
// and whenever, are those that the next step starts from; those of the parameters
// beside it go on with all bits of their master copies.
func TestMasterFollowsWrites(t *testing.T) {
	dev := vktest.Open(t)
	const n = 700
	for _, dt := range storage {
		fresh := opstest.Round(dt.String(), opstest.Uniform(7, n, 1))
		for name, write := range map[string]func(t *testing.T, p *ops.Params, x *ops.Tensor){
			"Upload": func(t *testing.T, p *ops.Params, x *ops.Tensor) { must(t, ops.Upload(ctx, x, fresh)) },
			"an operation": func(t *testing.T, p *ops.Params, x *ops.Tensor) {
				g := ops.NewImmediate(dev)
				defer g.Release()
				source, err := ops.NewTensor(dev, ops.F32, x.Shape()...)
				must(t, err)
				defer source.Release()
				must(t, ops.Upload(ctx, source, fresh))
				g.CastTo(source, x)
				must(t, g.Err())
			},
			"a step": func(t *testing.T, p *ops.Params, x *ops.Tensor) {
				g := ops.NewGraph(dev)
				source := g.Input("source", ops.F32, x.Shape()...)
				g.CastTo(source, x)
				step, err := g.Compile()
				must(t, err)
				defer step.Close()
				must(t, ops.Upload(ctx, source, fresh))
				must(t, step.Run())
			},
		} {
			for _, sgd := range []bool{false, true} { // two rules: parts that are no whole banks
				for _, before := range []int{0, 3} {
					t.Run(fmt.Sprint(dt, " ", name, " two rules=", sgd, " after ", before), func(t *testing.T) {
						p := newParams(t, dev, dt, opstest.Uniform(1, n, 1), opstest.Uniform(2, 900, 1))
						x, beside := p.All()[0], p.All()[1]
						o := &optim.Options{}
						if sgd {
							o.Groups = []optim.Group{{Params: p.All()[1:], Rule: optim.SGD{}, Hyper: optim.Hyper{LR: 1e-3}}, {Params: p.All()[:1], Hyper: optim.DefaultHyper()}}
						}
						a := newOptimizer(t, p, o)
						r := record(t, a, dev)
						step := func(k int) {
							setGrads(t, p, [][]float32{opstest.Uniform(uint32(10+k), n, 1), opstest.Uniform(uint32(20+k), 900, 1)})
							r.run(t)
						}
						for k := range before {
							step(k)
						}
						m, v, _ := moments(a, x)
						ref := &opstest.AdamW64{P: opstest.F64(fresh), M: opstest.F64(download(t, m)), V: opstest.F64(download(t, v)), Steps: before}
						kept := download(t, masterOf(a, beside))
						write(t, p, x)
						_, err := a.State(ctx)
						must(t, err)
						sameBits(t, "the master copy of what was written", download(t, masterOf(a, x)), fresh)
						sameBits(t, "the one beside it", download(t, masterOf(a, beside)), kept)
						step(before)
						grad := opstest.Round(dt.String(), opstest.Uniform(uint32(10+before), n, 1))
						ref.Step(opstest.F64(grad), opstest.AdamWOptions{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8})
						near(t, "after the next step", download(t, masterOf(a, x)), ref.P, 1e-6)
					})
				}
			}
		}
	}
}

// masterOf returns the f32 values of x, x itself where it is stored in f32.
func masterOf(a *optim.Optimizer, x *ops.Tensor) *ops.Tensor {
	if m := a.Master(x); m != nil {
		return m
	}
	return x
}

// Master copies that are set after the parameters, as from a checkpoint, keep all their
// bits, and a step that follows an update reads nothing again.
func TestMasterKeepsItsBits(t *testing.T) {
	dev := vktest.Open(t)
	exact := opstest.Uniform(9, 700, 1)
	for _, dt := range []ops.DType{ops.F16, ops.BF16} {
		for _, reserve := range []bool{false, true} {
			p := newParams(t, dev, dt, opstest.Uniform(1, 700, 1))
			a := newOptimizer(t, p, &optim.Options{Reserve: reserve})
			a.SetLR(0)
			r := record(t, a, dev)
			setGrads(t, p, [][]float32{opstest.Uniform(3, 700, 1)})
			x := p.All()[0]
			must(t, ops.Upload(ctx, x, opstest.Round(dt.String(), exact)))
			must(t, ops.Upload(ctx, a.Master(x), exact))
			for range 3 {
				r.run(t)
			}
			sameBits(t, "the master copy", download(t, a.Master(x)), exact)
			must(t, ops.Upload(ctx, p.Banks()[0].Values, make([]float32, p.Banks()[0].Values.Len())))
			r.run(t)
			sameBits(t, "the master copy of an arena of zeros", download(t, a.Master(x)), make([]float32, 700))
		}
	}
}

// Values that another optimizer has trained are those that the next one starts from.
func TestMasterOfTrainedValues(t *testing.T) {
	dev := vktest.Open(t)
	for _, reserve := range []bool{false, true} {
		p := zeros(t, dev)
		a, err := optim.NewAdamW(p, nil)
		must(t, err)
		setGrads(t, p, [][]float32{opstest.Uniform(3, 700, 1)})
		record(t, a, dev).run(t)
		must(t, dev.Wait(ctx))
		a.Release()
		x := p.All()[0]
		trained := download(t, x)
		if trained[0] == 0 {
			t.Fatal("nothing was trained")
		}
		b := newOptimizer(t, p, &optim.Options{Reserve: reserve})
		_, err = b.State(ctx)
		must(t, err)
		sameBits(t, "the master copy", download(t, b.Master(x)), trained)
	}
}

// zeros is a set that nobody has written to.
func zeros(t *testing.T, dev *vk.Device) *ops.Params {
	p := ops.NewParams(dev, ops.BF16)
	p.Add("p0", 140, 5)
	must(t, p.Alloc())
	t.Cleanup(p.Release)
	return p
}
