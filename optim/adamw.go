package optim

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
)

// AdamW is the optimizer state of a parameter set: two f32 moments per value,
// an f32 master copy when the values are stored in 16 bits, an f32 sum of their
// gradients when these are accumulated, and how many steps each tensor has taken.
type AdamW struct {
	params  *ops.Params
	opts    Options
	scaling Scaler
	groups  []Group
	group   map[*ops.Tensor]int // index into groups; tensors in none are absent
	banks   []moments
	scaler  *ops.Tensor // u32[4]: scale bits, good steps, steps skipped so far
	counted *ops.Tensor // f32: targets counted by BackwardSum; nil without it
	expect  int         // of BackwardSum; 0: its passes are by Backward
	steps   []int64     // taken by each parameter, in the order of params.All

	recorded bool // Record was called
	plain    bool // Backward was called

	noRate bool // every group's learning rate is 0, because nobody has set one

	last  *Update // the update staged last, whose runs may not be settled
	skips uint32  // skipped steps accounted for in steps
}

// moments are arenas laid out like a bank of parameters.
type moments struct{ m, v, master, sum *ops.Tensor }

// all lists the arenas there are.
func (mo *moments) all() []*ops.Tensor {
	return slices.DeleteFunc([]*ops.Tensor{mo.m, mo.v, mo.master, mo.sum}, func(t *ops.Tensor) bool { return t == nil })
}

// NewAdamW allocates the state, zeros for the moments. 16-bit parameters get a
// master copy of their values as they are now: initialize them first, or call
// SyncMaster after. It refuses impossible hyper-parameters, a parameter in two
// groups or twice in one, an empty group, and parameters of another set.
func NewAdamW(p *ops.Params, o *Options) (*AdamW, error) {
	if p == nil {
		return nil, fmt.Errorf("optim: no parameter set")
	}
	if o == nil {
		o = &Options{}
	}
	a := &AdamW{params: p, opts: *o, groups: slices.Clone(o.Groups), group: map[*ops.Tensor]int{}, steps: make([]int64, len(p.All()))}
	if len(a.groups) == 0 {
		a.groups = []Group{{Params: p.All(), Hyper: DefaultHyper()}}
	}
	for i, gr := range a.groups {
		if err := gr.Validate(); err != nil {
			return nil, fmt.Errorf("%w (group %d)", err, i)
		}
		if len(gr.Params) == 0 {
			return nil, fmt.Errorf("optim: group %d has no parameters", i)
		}
		for _, t := range gr.Params {
			if p.Grad(t) == nil {
				return nil, fmt.Errorf("optim: group %d: %v is not a parameter of this set, or the set has no memory yet", i, t)
			}
			if j, twice := a.group[t]; twice {
				return nil, fmt.Errorf("optim: parameter %q is in group %d and again in group %d", t.Name(), j, i)
			}
			a.group[t] = i
		}
	}
	a.noRate = !slices.ContainsFunc(a.groups, func(g Group) bool { return g.LR != 0 })
	if o.MaxNorm != nil {
		if err := checkMaxNorm(*o.MaxNorm); err != nil {
			return nil, err
		}
	}
	if o.Variant != Document && o.Variant != Torch {
		return nil, fmt.Errorf("optim: Variant is %d, want Document or Torch", o.Variant)
	}
	a.scaling = Scaler{Init: 1, Growth: 1, Backoff: 1}
	if o.Scaler != nil {
		var err error
		if a.scaling, err = o.Scaler.withDefaults(); err != nil {
			return nil, err
		}
	}
	if err := a.alloc(); err != nil {
		a.Release()
		return nil, err
	}
	if a.ownBackward() {
		p.SetOptimizer(a)
	}
	return a, nil
}

func (a *AdamW) alloc() error {
	dev, ctx := a.params.Device(), context.Background()
	for _, b := range a.params.Banks() {
		a.banks = append(a.banks, moments{})
		mo := &a.banks[len(a.banks)-1]
		arenas := []**ops.Tensor{&mo.m, &mo.v}
		if a.params.DType() != ops.F32 {
			arenas = append(arenas, &mo.master)
			if a.opts.Accumulate {
				arenas = append(arenas, &mo.sum)
			}
		}
		create := ops.NewTensor
		if a.opts.Reserve {
			create = ops.Reserve
		}
		for _, arena := range arenas {
			t, err := create(dev, ops.F32, b.Values.Len())
			if err != nil {
				return fmt.Errorf("optim: %w", err)
			}
			*arena = t
		}
	}
	var err error
	if a.scaler, err = ops.NewTensor(dev, ops.U32, 4); err != nil {
		return fmt.Errorf("optim: %w", err)
	}
	if err := ops.Upload(ctx, a.scaler, []uint32{math.Float32bits(float32(a.scaling.Init)), 0, 0, 0}); err != nil {
		return err
	}
	if a.opts.Reserve {
		return nil
	}
	return a.SyncMaster()
}

// Bytes returns the device memory that the state takes, reserved or allocated.
func (a *AdamW) Bytes() int64 {
	n := a.scaler.Bytes()
	if a.counted != nil {
		n += a.counted.Bytes()
	}
	for _, mo := range a.banks {
		for _, t := range mo.all() {
			n += t.Bytes()
		}
	}
	return n
}

// SyncMaster sets the master copy to the parameters' present values. It does
// nothing for f32 parameters, which are their own master.
func (a *AdamW) SyncMaster() error {
	switch {
	case a.banks == nil:
		return fmt.Errorf("optim: the optimizer was released")
	case a.params.Banks() == nil:
		return fmt.Errorf("optim: the parameters were released")
	case a.params.DType() == ops.F32:
		return nil
	}
	g := ops.NewImmediate(a.params.Device())
	defer g.Release()
	for i, b := range a.params.Banks() {
		g.CastTo(b.Values, a.banks[i].master)
	}
	return g.Err()
}

// Release frees the state. Steps that update with it must have finished; the
// optimizer can't be used afterwards.
func (a *AdamW) Release() {
	for _, mo := range a.banks {
		for _, t := range mo.all() {
			t.Release()
		}
	}
	a.banks = nil
	a.scaler.Release()
	a.counted.Release()
	if a.params != nil && a.params.Optimizer() == ops.Optimizer(a) {
		a.params.SetOptimizer(nil)
	}
}

// SetLR sets the learning rate of every group, for the steps staged from now
// on; Stage refuses an impossible one.
func (a *AdamW) SetLR(lr float64) {
	a.noRate = false
	for i := range a.groups {
		a.groups[i].LR = lr
	}
}

// Groups returns the parameter groups; their hyper-parameters may be changed
// between steps.
func (a *AdamW) Groups() []Group {
	a.noRate = false // they are the caller's from now on
	return a.groups
}

// Moments returns the state of parameter t, f32 tensors of its shape; master is
// nil for f32 parameters. They are nil for a tensor that is not a parameter of
// the set, and after Release.
func (a *AdamW) Moments(t *ops.Tensor) (m, v, master *ops.Tensor) {
	if a.params.Grad(t) == nil || a.banks == nil {
		return nil, nil, nil
	}
	bank, _, _ := a.params.Place(t)
	b := a.banks[bank]
	m, v = a.params.Part(b.m, t), a.params.Part(b.v, t)
	if b.master != nil {
		master = a.params.Part(b.master, t)
	}
	return m, v, master
}

// State is what an optimizer needs beside its moments to go on bit for bit.
type State struct {
	Steps map[string]int64 // per parameter; parameters without one took none
	Scale float32          // loss scale
	Good  uint32           // finite steps since the scale last changed
	Skips uint32           // steps skipped so far
}

// State waits for the steps that run and returns the counters.
func (a *AdamW) State(ctx context.Context) (State, error) {
	if err := a.settle(ctx); err != nil {
		return State{}, err
	}
	var w [4]uint32
	if err := ops.Download(ctx, a.scaler, w[:]); err != nil {
		return State{}, err
	}
	s := State{Steps: map[string]int64{}, Scale: math.Float32frombits(w[0]), Good: w[1], Skips: w[2]}
	for i, t := range a.params.All() {
		if a.steps[i] > 0 {
			s.Steps[t.Name()] = a.steps[i]
		}
	}
	return s, nil
}

// SetState restores what State returned. Parameters are matched by name; one
// that the set does not have is an error and nothing is changed.
func (a *AdamW) SetState(ctx context.Context, s State) error {
	for name, n := range s.Steps {
		if a.params.ByName(name) == nil || n < 0 {
			return fmt.Errorf("optim: state of parameter %q with %d steps: no such parameter or impossible count", name, n)
		}
	}
	if err := a.settle(ctx); err != nil {
		return err
	}
	scale := s.Scale
	if a.opts.Scaler == nil {
		scale = float32(a.scaling.Init)
	}
	if !(scale > 0) || math.IsInf(float64(scale), 0) {
		return fmt.Errorf("optim: loss scale is %v, want a positive number", s.Scale)
	}
	if err := ops.Upload(ctx, a.scaler, []uint32{math.Float32bits(scale), s.Good, s.Skips, 0}); err != nil {
		return err
	}
	for i, t := range a.params.All() {
		a.steps[i] = s.Steps[t.Name()]
	}
	a.skips, a.last = s.Skips, nil
	return nil
}
