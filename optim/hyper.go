package optim

import (
	"cmp"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// Hyper are AdamW's hyper-parameters (Loshchilov and Hutter, "Decoupled weight
// decay regularization", 2019). A Beta1, Beta2 or Eps of 0 is its default; [Zero]
// is 0 itself.
type Hyper struct {
	LR          float64 // learning rate α ≥ 0; here or by SetLR
	Beta1       float64 // decay of the first moment, in [0, 1); 0: 0.9
	Beta2       float64 // decay of the second moment, in [0, 1); 0: 0.95
	Eps         float64 // ε ≥ 0, added to the root of the second moment; 0: 1e-8
	WeightDecay float64 // λ ≥ 0, decoupled: the parameter shrinks by α·λ per step
}

// Zero asks for a Beta1, Beta2 or Eps of 0, which the fields of [Hyper] take for
// their default. It is the smallest positive number: no step differs from one
// with 0.
const Zero = math.SmallestNonzeroFloat64

// DefaultHyper returns α = 1e-3, β = (0.9, 0.95), ε = 1e-8, λ = 0.
func DefaultHyper() Hyper { return Hyper{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8} }

// orDefaults returns h without fields that stand for their default.
func (h Hyper) orDefaults() Hyper {
	d := DefaultHyper()
	h.Beta1, h.Beta2, h.Eps = cmp.Or(h.Beta1, d.Beta1), cmp.Or(h.Beta2, d.Beta2), cmp.Or(h.Eps, d.Eps)
	return h
}

// Validate returns an error that names the first impossible field and its value.
func (h Hyper) Validate() error {
	for _, f := range []struct {
		name  string
		v     float64
		limit float64
	}{{"LR", h.LR, math.MaxFloat32}, {"Beta1", h.Beta1, 1}, {"Beta2", h.Beta2, 1}, {"Eps", h.Eps, math.MaxFloat32}, {"WeightDecay", h.WeightDecay, math.MaxFloat32},
		// The largest numbers that a step has of them, which are f32:
		{"LR/(1-Beta1)", h.LR / (1 - h.orDefaults().Beta1), math.MaxFloat32}, {"LR*WeightDecay", h.LR * h.WeightDecay, math.MaxFloat32}} {
		if !(f.v >= 0 && f.v < f.limit) { // NaN fails too
			return fmt.Errorf("optim: %s is %v, want a number in [0, %v)", f.name, f.v, f.limit)
		}
	}
	return nil
}

// Group is a set of parameters with hyper-parameters of their own.
type Group struct {
	Params []*ops.Tensor
	Hyper
}

// Variant is the order of AdamW's operations.
type Variant int

const (
	// Document is the order of docs/specification.md and the CS336 hand-out, with ε beside sqrt(v) and decay last:
	//	α_t = α·sqrt(1−β2^t)/(1−β1^t);  θ ← θ − α_t·m/(sqrt(v)+ε);  θ ← θ − α·λ·θ
	Document Variant = iota
	// Torch is the order of torch.optim.AdamW, with decay first:
	//	θ ← θ − α·λ·θ;  θ ← θ − α/(1−β1^t)·m/(sqrt(v)/sqrt(1−β2^t)+ε)
	Torch
)

// String returns "document" or "torch".
func (v Variant) String() string {
	if v == Torch {
		return "torch"
	}
	return "document"
}

// rates returns the step size and the factor of sqrt(v) at step t ≥ 1. Float64
// throughout: for β2 = 0.9999 and t = 1, 1−β2^t in f32 has three right digits.
func (h Hyper) rates(v Variant, t int64) (step, denom float64) {
	c1, c2 := 1-math.Pow(h.Beta1, float64(t)), 1-math.Pow(h.Beta2, float64(t))
	if v == Torch {
		return h.LR / c1, 1 / math.Sqrt(c2)
	}
	return h.LR * math.Sqrt(c2) / c1, 1
}

// Options change what an optimizer does beside AdamW itself; nil means the
// defaults.
type Options struct {
	Variant Variant
	// Groups of parameters; parameters in no group are not updated. None: one
	// group of all parameters with DefaultHyper.
	Groups []Group
	// MaxNorm clips the global gradient norm when set; 0 zeroes the gradients.
	MaxNorm *float64
	// KeepNonFinite makes a step go on whose gradient norm is NaN, infinite, or so
	// large (2^64, clipped) that squares overflow; by default the device skips
	// such a step: nothing is updated, no step counted.
	KeepNonFinite bool
	// Scaler turns dynamic loss scaling on.
	Scaler *Scaler
	// Accumulate makes the gradient of a step the sum over several backward
	// passes, see AdamW.Backward: the update leaves zeros behind.
	Accumulate bool
	// Reserve leaves the memory of the state to the first use, and the master copy
	// of 16-bit parameters to a call of SyncMaster.
	Reserve bool
}

// Scaler is the dynamic loss scale: the loss's gradient is multiplied by the
// scale, gradients are divided by it inside the update. A norm that is not finite, or 2^64
// and more after clipping, skips the step and multiplies the scale by Backoff;
// Interval good steps in a row multiply it by Growth. It lives on the device.
type Scaler struct {
	Init     float64 // first scale; 0: 65536
	Growth   float64 // 0: 2
	Backoff  float64 // 0: 0.5
	Interval int     // 0: 2000
}

func (s Scaler) withDefaults() (Scaler, error) {
	if s.Init == 0 {
		s.Init = 65536
	}
	if s.Growth == 0 {
		s.Growth = 2
	}
	if s.Backoff == 0 {
		s.Backoff = 0.5
	}
	if s.Interval == 0 {
		s.Interval = 2000
	}
	for _, f := range []struct {
		name   string
		v      float64
		lo, hi float64
	}{{"Init", s.Init, 0, math.MaxFloat32}, {"Growth", s.Growth, 1, math.MaxFloat32}, {"Backoff", s.Backoff, 0, 1}, {"Interval", float64(s.Interval), 0, 1 << 24}} {
		if !(f.v > f.lo && f.v <= f.hi) {
			return s, fmt.Errorf("optim: Scaler.%s is %v, want a number in (%v, %v]", f.name, f.v, f.lo, f.hi)
		}
	}
	return s, nil
}
