package guest

import (
	_ "embed"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

//go:embed adagrad.spv
var adagradSPIRV []byte // of adagrad.comp, by glslc

// Adagrad divides by the root of all squares so far (Duchi et al. 2011), for
// parameters in f32:
//
//	v ← v + g²;  θ ← θ − α·λ·θ − α·g/(sqrt(v)+ε)
type Adagrad struct{}

var _ = optim.Register(Adagrad{})

// Name implements optim.Rule.
func (Adagrad) Name() string { return "adagrad" }

// Moments implements optim.Rule.
func (Adagrad) Moments() []optim.Moment {
	return []optim.Moment{{Name: "v", Title: "sum of squares"}}
}

// Defaults implements optim.Rule.
func (Adagrad) Defaults() optim.Hyper { return optim.Hyper{LR: 1e-2, Eps: 1e-10} }

// Numbers implements optim.Rule.
func (Adagrad) Numbers(h optim.Hyper, _ int64) (fixed [7]float64, step [2]float64) {
	return [7]float64{h.LR, h.LR * h.WeightDecay, h.Eps}, step
}

// Record implements optim.Rule.
func (a Adagrad) Record(g *ops.Graph, p *optim.Part) {
	if gradient, parameter := p.Types(); gradient != ops.F32 || parameter != ops.F32 {
		g.Fail(a.Name(), fmt.Errorf("parameters in %v and gradients in %v, want f32", parameter, gradient))
		return
	}
	p.Dispatch(g, ops.Call{Kernel: a.Name(), SPIRV: adagradSPIRV})
}
