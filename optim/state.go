package optim

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// State is what an optimizer needs beside its slots to go on bit for bit.
type State struct {
	Steps    map[string]int64 // per parameter; parameters without one took none
	Scale    float32          // loss scale
	Good     uint32           // finite steps since the scale last changed
	Skips    uint32           // steps skipped so far
	Unscaled bool             `json:",omitempty"` // Scale and Good are nobody's: there was no Scaler
}

// State waits for the steps that run and returns the counters. It belongs to the
// slots as they are after it. What passes have added up for the next update, see
// Waiting, is no part of it.
func (a *Optimizer) State(ctx context.Context) (State, error) {
	if err := errors.Join(a.settle(ctx), a.syncMasters()); err != nil {
		return State{}, err
	}
	var w [4]uint32
	if err := ops.Download(ctx, a.scaler, w[:]); err != nil {
		return State{}, err
	}
	s := State{Steps: map[string]int64{}, Scale: math.Float32frombits(w[0]), Good: w[1], Skips: w[2], Unscaled: a.opts.Scaler == nil}
	for i, t := range a.params {
		if a.steps[i] > 0 {
			s.Steps[t.Name()] = a.steps[i]
		}
	}
	return s, nil
}

// SetState restores what State returned, and drops the gradients of passes that wait
// for their update. Parameters are matched by name; one that the optimizer does not
// have is an error and nothing is changed.
func (a *Optimizer) SetState(ctx context.Context, s State) error {
	known := map[string]bool{}
	for _, t := range a.params {
		known[t.Name()] = true
	}
	for name, n := range s.Steps {
		if !known[name] || n < 0 || n > 1<<53 {
			return fmt.Errorf("optim: state of parameter %q with %d steps: no such parameter or impossible count", name, n)
		}
	}
	if err := a.settle(ctx); err != nil {
		return err
	}
	scale, good := s.Scale, s.Good
	if a.opts.Scaler == nil || s.Unscaled {
		scale, good = float32(a.scaling.Init), 0
	}
	if !(scale > 0) || math.IsInf(float64(scale), 0) {
		return fmt.Errorf("optim: loss scale is %v, want a positive number", s.Scale)
	}
	if err := ops.Upload(ctx, a.scaler, []uint32{math.Float32bits(scale), good, s.Skips, 0}); err != nil {
		return err
	}
	if err := a.clearSums(); err != nil {
		return err
	}
	for i, t := range a.params {
		a.steps[i] = s.Steps[t.Name()]
	}
	a.skips, a.last = s.Skips, nil
	return nil
}
