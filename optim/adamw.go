package optim

import (
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled
// weight decay regularization", 2019). With g the gradient and t how many steps the
// tensor has taken, this one included:
//
//	m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g²
//
// and then in the order of docs/specification.md and the CS336 hand-out, with ε
// beside sqrt(v) and decay last,
//
//	α_t = α·sqrt(1−β2^t)/(1−β1^t);  θ ← θ − α_t·m/(sqrt(v)+ε);  θ ← θ − α·λ·θ
//
// or in that of torch.optim.AdamW, with decay first,
//
//	θ ← θ − α·λ·θ;  θ ← θ − α/(1−β1^t)·m/(sqrt(v)/sqrt(1−β2^t)+ε)
type AdamW struct {
	Torch bool // the order of torch.optim.AdamW
}

var _ = Register(AdamW{})

// Name implements Rule.
func (AdamW) Name() string { return "adamw" }

// Moments implements Rule.
func (AdamW) Moments() []Moment { return []Moment{{"m", "first moment"}, {"v", "second moment"}} }

// Defaults implements Rule.
func (AdamW) Defaults() Hyper { return Hyper{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8} }

// Numbers implements Rule.
func (a AdamW) Numbers(h Hyper, t int64) (fixed [7]float64, step [2]float64) {
	eps := max(h.Eps, 0x1p-126) // with ε = 0 a step of 0/(0+ε) would be NaN, in the padding of rows too
	decay, first := h.LR*h.WeightDecay, 0.0
	if a.Torch {
		decay, first = 0, decay
	}
	fixed = [7]float64{h.Beta1, 1 - h.Beta1, h.Beta2, 1 - h.Beta2, eps, decay, first}
	// For β2 = 0.9999 and t = 1, 1−β2^t in f32 has three right digits.
	c1, c2 := 1-math.Pow(h.Beta1, float64(t)), 1-math.Pow(h.Beta2, float64(t))
	if a.Torch {
		return fixed, [2]float64{h.LR / c1, 1 / math.Sqrt(c2)}
	}
	return fixed, [2]float64{h.LR * math.Sqrt(c2) / c1, 1}
}

// Record implements Rule.
func (AdamW) Record(g *ops.Graph, p *Part) { p.Elementwise(g, "adamw") }
