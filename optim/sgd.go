package optim

import "github.com/lemnos-ml/lemnos/ops"

// SGD is stochastic gradient descent with momentum β1, as torch.optim.SGD has it
// with dampening 0: weight decay is not decoupled but part of the gradient.
//
//	g ← g + λ·θ;  m ← β1·m + g;  θ ← θ − α·m, with Nesterov θ ← θ − α·(g + β1·m)
type SGD struct {
	Nesterov bool // look ahead along the momentum
}

var _ = Register(SGD{})

// Name implements Rule.
func (SGD) Name() string { return "sgd" }

// Moments implements Rule.
func (SGD) Moments() []Moment { return []Moment{{"m", "momentum"}} }

// Defaults implements Rule.
func (SGD) Defaults() Hyper { return Hyper{LR: 0.1, Beta1: 0.9} }

// Numbers implements Rule.
func (s SGD) Numbers(h Hyper, _ int64) (fixed [7]float64, step [2]float64) {
	plain, held := 0.0, 1.0
	if s.Nesterov {
		plain, held = 1, h.Beta1
	}
	return [7]float64{h.Beta1, h.WeightDecay, h.LR, plain, held}, step
}

// Record implements Rule.
func (SGD) Record(g *ops.Graph, p *Part) { p.Elementwise(g, "sgd") }
