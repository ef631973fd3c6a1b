package optim

import (
	"fmt"
	"math"
)

// Options change what an optimizer does; nil means the defaults.
type Options struct {
	// Rule of the groups that name none; nil: AdamW{}.
	Rule Rule
	// Groups of parameters; parameters in no group are not updated. None: one
	// group of all parameters, with the defaults of Rule.
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
	// passes, see Optimizer.Backward: the update leaves zeros behind.
	Accumulate bool
	// Reserve leaves the memory of the state, and the values of master copies, to the
	// first use.
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
		if v := float64(float32(f.v)); !(v > f.lo && f.v <= f.hi) {
			return s, fmt.Errorf("optim: Scaler.%s is %v, want a number in (%v, %v]", f.name, f.v, f.lo, f.hi)
		}
	}
	return s, nil
}
