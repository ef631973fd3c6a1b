package optim

import (
	"fmt"
	"math"
)

// Schedule gives the learning rate of a step. At is a pure function of the
// step, which counts from 0, so that a resumed run continues with the rate it
// would have had. Implementations do not allocate and may be shared between
// goroutines.
type Schedule interface {
	// At returns the learning rate of a step, counted from 0.
	At(step int64) float64
}

// Constant is the same learning rate at every step.
type Constant float64

// At returns the rate.
func (c Constant) At(int64) float64 { return float64(c) }

// Validate reports a rate that is negative, infinite or NaN.
func (c Constant) Validate() error {
	return checkRate("Constant", float64(c))
}

// Cosine is a linear warm-up from 0 to Max, half a period of a cosine down to Min,
// and Min from then on (docs/specification.md, section 3).
//
//	t < Warmup         Max·t / max(1, Warmup)
//	Warmup ≤ t ≤ End   Min + (Max−Min)·½(1 + cos(π·(t−Warmup) / max(1, End−Warmup)))
//	t > End            Min
//
// Every operation, the cosine included, is rounded once to float64, from left
// to right, so a step has the same rate on every processor.
type Cosine struct {
	Max    float64 // rate at the end of the warm-up
	Min    float64 // rate at End and after it
	Warmup int64   // first step that has the rate Max; 0 means no warm-up
	End    int64   // step at which the rate reaches Min
}

// At returns the rate of a step by the formula above.
func (c Cosine) At(step int64) float64 {
	switch {
	case step < c.Warmup:
		return warmup(c.Max, step, c.Warmup)
	case step <= c.End:
		angle := float64(math.Pi*float64(step-c.Warmup)) / float64(max(1, c.End-c.Warmup))
		// The conversions keep the compiler from fusing a product with the
		// sum around it, which some processors would round differently.
		half := float64((c.Max - c.Min) * 0.5)
		return c.Min + float64(half*(1+cos(angle)))
	default:
		return c.Min
	}
}

// Validate reports the first field that is negative, infinite or NaN, a Min above
// Max, and an End that comes before Warmup.
func (c Cosine) Validate() error {
	return firstError(
		checkRate("Cosine.Max", c.Max),
		checkRate("Cosine.Min", c.Min),
		checkFall("Cosine", c.Max, c.Min),
		checkStep("Cosine.Warmup", c.Warmup, "", 0),
		checkStep("Cosine.End", c.End, "Cosine.Warmup", c.Warmup),
	)
}

// WSD is a warm-up, stable, decay schedule: linear from 0 to Max, Max for most
// of the run, and linear down to Min.
//
//	t < Warmup           Max·t / max(1, Warmup)
//	Warmup ≤ t ≤ Decay   Max
//	Decay < t < End      Min + (Max−Min)·(End−t) / (End−Decay)
//	t ≥ End              Min
type WSD struct {
	Max    float64 // rate of the stable part
	Min    float64 // rate at End and after it
	Warmup int64   // first step that has the rate Max; 0 means no warm-up
	Decay  int64   // last step that has the rate Max
	End    int64   // step at which the rate reaches Min
}

// At returns the rate of a step by the formula above.
func (w WSD) At(step int64) float64 {
	switch {
	case step < w.Warmup:
		return warmup(w.Max, step, w.Warmup)
	case step <= w.Decay:
		return w.Max
	case step < w.End:
		left := float64((w.Max-w.Min)*float64(w.End-step)) / float64(w.End-w.Decay)
		return w.Min + left
	default:
		return w.Min
	}
}

// Validate reports the first field that is negative, infinite or NaN, a Min above
// Max, and steps that are not in the order Warmup ≤ Decay ≤ End.
func (w WSD) Validate() error {
	return firstError(
		checkRate("WSD.Max", w.Max),
		checkRate("WSD.Min", w.Min),
		checkFall("WSD", w.Max, w.Min),
		checkStep("WSD.Warmup", w.Warmup, "", 0),
		checkStep("WSD.Decay", w.Decay, "WSD.Warmup", w.Warmup),
		checkStep("WSD.End", w.End, "WSD.Decay", w.Decay),
	)
}

// warmup is the linear climb from 0 at step 0 to top at step n.
func warmup(top float64, step, n int64) float64 {
	return float64(top*float64(step)) / float64(max(1, n))
}

func checkRate(field string, v float64) error {
	if !(v >= 0) || math.IsInf(v, 0) {
		return fmt.Errorf("optim: %s is %v, want a finite rate that is not negative", field, v)
	}
	return nil
}

// checkFall reports a schedule that would rise where it is to fall.
func checkFall(schedule string, top, bottom float64) error {
	if bottom > top {
		return fmt.Errorf("optim: %s.Min is %v, above %[1]s.Max, which is %[3]v", schedule, bottom, top)
	}
	return nil
}

func checkStep(field string, v int64, lowField string, low int64) error {
	switch {
	case v < 0:
		return fmt.Errorf("optim: %s is %d, want a step that is not negative", field, v)
	case v < low:
		return fmt.Errorf("optim: %s is %d, before %s at %d", field, v, lowField, low)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
