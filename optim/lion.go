package optim

import "github.com/lemnos-ml/lemnos/ops"

// Lion moves every value by the same amount, in the direction of a momentum (Chen
// et al., "Symbolic discovery of optimization algorithms", 2023). It remembers half
// of what AdamW does. Its rate is usually a tenth of AdamW's and its decay ten times.
//
//	θ ← θ − α·λ·θ − α·sign(β1·m + (1−β1)·g);  m ← β2·m + (1−β2)·g
type Lion struct{}

var _ = Register(Lion{})

// Name implements Rule.
func (Lion) Name() string { return "lion" }

// Moments implements Rule.
func (Lion) Moments() []Moment { return []Moment{{"m", "first moment"}} }

// Defaults implements Rule.
func (Lion) Defaults() Hyper { return Hyper{LR: 1e-4, Beta1: 0.9, Beta2: 0.99} }

// Numbers implements Rule.
func (Lion) Numbers(h Hyper, _ int64) (fixed [7]float64, step [2]float64) {
	return [7]float64{h.Beta1, 1 - h.Beta1, h.Beta2, 1 - h.Beta2, h.LR, h.LR * h.WeightDecay}, step
}

// Record implements Rule.
func (Lion) Record(g *ops.Graph, p *Part) { p.Elementwise(g, "lion") }
