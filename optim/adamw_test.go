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

// trajectory runs the steps of a golden case on the device and calls check
// after each with the step's number, from 1.
type trajectory struct {
	c          opstest.AdamWCase
	dev        *vk.Device
	p          *ops.Params
	a          *optim.Optimizer
	recordings map[string]recording // by which tensors have a gradient
}

func newTrajectory(t *testing.T, dev *vk.Device, c opstest.AdamWCase, dt ops.DType) *trajectory {
	inits := make([][]float32, c.Count)
	for j := range inits {
		inits[j] = c.Init(j)
	}
	p := newParams(t, dev, dt, inits...)
	groups := make([]optim.Group, min(len(c.Groups), c.Count))
	for j, x := range p.All() {
		gr := &groups[j%len(groups)]
		gr.Params = append(gr.Params, x)
		gr.Hyper = hyperOf(c.Options(j, 1))
	}
	a := newOptimizer(t, p, &optim.Options{Rule: optim.AdamW{Torch: c.Variant == "torch"}, Groups: groups})
	return &trajectory{c, dev, p, a, map[string]recording{}}
}

// grads are those of one step, as the device stores them.
func (tr *trajectory) grads(step int) [][]float32 {
	grads := make([][]float32, tr.c.Count)
	for j := range grads {
		if g := tr.c.Grad(j, step); g != nil {
			grads[j] = opstest.Round(tr.p.DType().String(), g)
		}
	}
	return grads
}

func (tr *trajectory) run(t *testing.T, step int, grads [][]float32) {
	t.Helper()
	for j := range tr.a.Groups() {
		tr.a.Groups()[j].LR = tr.c.Options(j, step).LR
	}
	var with []*ops.Tensor
	key := ""
	for j, x := range tr.p.All() {
		if grads[j] != nil {
			with = append(with, x)
		} else {
			key += fmt.Sprint(" ", j)
		}
	}
	r, ok := tr.recordings[key]
	if !ok {
		r = record(t, tr.a, tr.dev, with...)
		tr.recordings[key] = r
	}
	setGrads(t, tr.p, grads)
	r.run(t)
}

// The trajectories of PyTorch's float64 AdamW and of the specification's
// formulas: 1, 3 and 1,000 tensors, 100 steps, groups, tensors without gradient
// in some steps.
func TestSpec2AdamWGolden(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range opstest.AdamWCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			tr := newTrajectory(t, dev, c, ops.F32)
			next := c.Want
			for step := 1; step <= len(c.Rates) && len(next) > 0; step++ {
				tr.run(t, step, tr.grads(step))
				if step != next[0].Step {
					continue
				}
				s := stateOf(t, tr.p, tr.a)
				opstest.CheckL2(t, fmt.Sprintf("parameters after step %d", step), s.p, next[0].P, 1e-6)
				opstest.CheckL2(t, fmt.Sprintf("first moments after step %d", step), s.m, next[0].M, 1e-6)
				opstest.CheckL2(t, fmt.Sprintf("second moments after step %d", step), s.v, next[0].V, 1e-6)
				next = next[1:]
			}
			if len(next) > 0 {
				t.Errorf("the case ends before step %d", next[0].Step)
			}
		})
	}
}

// 16-bit parameters and gradients: the f32 master follows the reference that
// gets the rounded inputs, and what is stored is the master rounded once.
func TestSpec2AdamWMasterWeights(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range storage[1:] {
		for _, c := range opstest.AdamWCases(t) {
			if c.GradDType != "f32" && c.GradDType != dt.String() {
				continue
			}
			t.Run(fmt.Sprint(dt, " ", c), func(t *testing.T) {
				tr := newTrajectory(t, dev, c, dt)
				inits := make([][]float32, c.Count)
				for j := range inits {
					inits[j] = c.Init(j)
				}
				ref := newReference(dt, inits...)
				steps := len(c.Rates)
				if testing.Short() {
					steps = min(steps, 10)
				}
				for step := 1; step <= steps; step++ {
					grads := tr.grads(step)
					tr.run(t, step, grads)
					for j, g := range grads {
						if g != nil {
							ref[j].Step(opstest.F64(g), c.Options(j, step))
						}
					}
				}
				s := stateOf(t, tr.p, tr.a)
				near(t, "master", s.master, ref.p(), 1e-6)
				near(t, "first moments", s.m, ref.m(), 1e-6)
				near(t, "second moments", s.v, ref.v(), 1e-6)
				sameBits(t, "stored value", s.p, opstest.Round(dt.String(), s.master))
			})
		}
	}
}
