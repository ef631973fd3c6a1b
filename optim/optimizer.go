package optim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
)

// Optimizer updates parameters by their gradients, each by its group's rule. It
// holds what the rules remember, an f32 master copy of values that are stored in
// 16 bits, an f32 sum of their gradients when these are accumulated, and how many
// steps each tensor has taken.
type Optimizer struct {
	sets    []*ops.Params // those that are not frozen
	params  []*ops.Tensor // theirs, set by set
	home    map[*ops.Tensor]home
	opts    Options
	scaling Scaler
	groups  []Group
	fixed   []Group // as New took them: their rules and parameters stay
	rules   []Rule  // of the groups, each once
	banks   []*bank
	parts   []*part     // bank by bank
	scaler  *ops.Tensor // u32[4]: scale bits, good steps, steps skipped so far
	counted *ops.Tensor // f32: targets counted by BackwardSum; nil without it
	expect  int         // of BackwardSum; 0: its passes are by Backward
	steps   []int64     // taken by each of params

	passes   int64 // submitted since the last update
	recorded bool  // Record was called
	plain    bool  // Backward was called
	released bool

	synced int64 // writes up to this one, see ops.Tensor.Written, are in the master copies; -1: none is
	noRate int   // the first group whose learning rate is 0 because nobody has set one; -1: none is

	last  *Update // the update staged last; its newest runs may not be in steps yet
	skips uint32  // skipped steps that steps takes into account
}

// home is where a parameter belongs.
type home struct {
	index int // into Optimizer.params
	set   *ops.Params
	group int   // into Optimizer.groups; -1: none
	part  *part // nil: none
}

// NewAdamW is New for one set of parameters.
func NewAdamW(p *ops.Params, o *Options) (*Optimizer, error) { return New(o, p) }

// New allocates the state of an optimizer of one or more sets, of which it leaves
// out the frozen ones. 16-bit parameters get a master copy of their values, and
// again whenever something else than an update sets these: of the two the one that was
// written last counts. New refuses impossible hyper-parameters, a parameter in two groups or twice in one, an empty group, two
// parameters of one name, and parameters of other sets.
func New(o *Options, sets ...*ops.Params) (*Optimizer, error) {
	if o == nil {
		o = &Options{}
	}
	a := &Optimizer{opts: *o, groups: slices.Clone(o.Groups), home: map[*ops.Tensor]home{}, synced: -1}
	if a.opts.Rule == nil {
		a.opts.Rule = AdamW{}
	}
	if err := a.addSets(sets); err != nil {
		return nil, err
	}
	if err := a.addGroups(); err != nil {
		return nil, err
	}
	if o.MaxNorm != nil {
		a.opts.MaxNorm = new(*o.MaxNorm)
		if err := checkMaxNorm(*a.opts.MaxNorm); err != nil {
			return nil, err
		}
	}
	a.scaling = Scaler{Init: 1, Growth: 1, Backoff: 1}
	if o.Scaler != nil {
		var err error
		if a.scaling, err = o.Scaler.withDefaults(); err != nil {
			return nil, err
		}
	}
	a.divideBanks()
	if err := a.alloc(); err != nil {
		a.Release()
		return nil, err
	}
	for _, p := range a.sets {
		p.Attach(a, a.ownBackward())
	}
	return a, nil
}

func (a *Optimizer) addSets(sets []*ops.Params) error {
	names := map[string]bool{}
	for _, p := range sets {
		switch {
		case p == nil:
			return errors.New("optim: no parameter set")
		case p.Frozen():
			continue
		case slices.Contains(a.sets, p):
			return errors.New("optim: a parameter set is given twice")
		case len(a.sets) > 0 && a.sets[0].Device() != p.Device():
			return errors.New("optim: parameter sets on two devices")
		}
		a.sets = append(a.sets, p)
		for _, t := range p.All() {
			if names[t.Name()] {
				return fmt.Errorf("optim: parameter %q is in two sets", t.Name())
			}
			names[t.Name()] = true
			a.home[t] = home{len(a.params), p, -1, nil}
			a.params = append(a.params, t)
		}
	}
	if len(a.sets) == 0 {
		return errors.New("optim: no parameter set that is not frozen")
	}
	a.steps = make([]int64, len(a.params))
	return nil
}

func (a *Optimizer) addGroups() error {
	if len(a.groups) == 0 {
		if err := checkRule(a.opts.Rule); err != nil {
			return fmt.Errorf("optim: group 0: %w", err)
		}
		a.groups = []Group{{Params: a.params, Hyper: a.opts.Rule.Defaults()}}
	}
	for i := range a.groups {
		gr := &a.groups[i]
		if gr.Rule == nil {
			gr.Rule = a.opts.Rule
		}
		gr.Params = slices.Clone(gr.Params)
		if err := checkRule(gr.Rule); err != nil {
			return fmt.Errorf("optim: group %d: %w", i, err)
		}
		if !slices.Contains(a.rules, gr.Rule) {
			a.rules = append(a.rules, gr.Rule)
		}
		if err := gr.Validate(); err != nil {
			return fmt.Errorf("%w (group %d)", err, i)
		}
		if len(gr.Params) == 0 {
			return fmt.Errorf("optim: group %d has no parameters", i)
		}
		for _, t := range gr.Params {
			h, ok := a.home[t]
			switch {
			case !ok || h.set.Grad(t) == nil:
				return fmt.Errorf("optim: group %d: %v is not a parameter of this set, or the set has no memory yet", i, t)
			case h.group >= 0:
				return fmt.Errorf("optim: parameter %q is in group %d and again in group %d", t.Name(), h.group, i)
			}
			if _, whole := gr.Rule.(matrixRule); whole && len(t.Shape()) != 2 {
				return fmt.Errorf("optim: group %d: %v is not a matrix, which %s wants: give it a group with another rule", i, t, gr.Rule.Name())
			}
			h.group = i
			a.home[t] = h
		}
	}
	a.fixed = slices.Clone(a.groups)
	for i := range a.fixed {
		a.fixed[i].Params = slices.Clone(a.fixed[i].Params)
	}
	a.noRate = slices.IndexFunc(a.groups, func(g Group) bool { return g.LR == 0 })
	return nil
}

func (a *Optimizer) alloc() error {
	dev, ctx := a.sets[0].Device(), context.Background()
	create := ops.NewTensor
	if a.opts.Reserve {
		create = ops.Reserve
	}
	var err error
	arena := func(len4 int) *ops.Tensor {
		var t *ops.Tensor
		if err == nil {
			t, err = create(dev, ops.F32, len4*4)
		}
		return t
	}
	for _, b := range a.banks {
		if a.opts.Accumulate && b.set.DType() != ops.F32 {
			b.sum = arena(b.Values.Len() / 4)
		}
	}
	for _, p := range a.parts {
		for range p.rule.Moments() {
			p.moments = append(p.moments, arena(p.len4))
		}
		if p.set.DType() != ops.F32 {
			p.master = arena(p.len4)
		}
	}
	if err == nil {
		a.scaler, err = ops.NewTensor(dev, ops.U32, 4)
	}
	if err != nil {
		return fmt.Errorf("optim: %w", err)
	}
	if err := ops.Upload(ctx, a.scaler, []uint32{math.Float32bits(float32(a.scaling.Init)), 0, 0, 0}); err != nil {
		return err
	}
	if err := a.clearSums(); err != nil || a.opts.Reserve { // of what another pass has left there
		return err
	}
	return a.syncMasters()
}

// arenas lists the large tensors of the state.
func (a *Optimizer) arenas() (all []*ops.Tensor) {
	for _, b := range a.banks {
		if b.sum != nil {
			all = append(all, b.sum)
		}
	}
	for _, p := range a.parts {
		all = append(all, p.arenas()...)
	}
	return all
}

// Bytes returns the device memory that the state takes, reserved or allocated.
func (a *Optimizer) Bytes() int64 {
	n := a.scaler.Bytes()
	if a.counted != nil {
		n += a.counted.Bytes()
	}
	for _, t := range a.arenas() {
		n += t.Bytes()
	}
	return n
}

// live reports what makes every use of the state void.
func (a *Optimizer) live() error {
	if a.released {
		return errors.New("the optimizer was released")
	}
	for _, p := range a.sets {
		switch {
		case p.Banks() == nil:
			return errors.New("the parameters were released")
		case p.Frozen():
			return errors.New("the parameters were frozen after the optimizer was made")
		}
	}
	return nil
}

// syncMasters sets the master copies of what was written to parameters since it was
// called last, and not to the copies after that, as from a checkpoint.
func (a *Optimizer) syncMasters() error {
	if err := a.live(); err != nil {
		return fmt.Errorf("optim: %w", err)
	}
	newest := int64(-1)
	for _, p := range a.parts {
		if p.master != nil {
			newest = max(newest, p.Values.Written())
		}
	}
	if newest <= a.synced {
		return nil
	}
	g := ops.NewImmediate(a.sets[0].Device())
	defer g.Release()
	for _, p := range a.parts {
		if p.master == nil {
			continue
		}
		stale := slices.DeleteFunc(slices.Clone(p.tensors), func(t *ops.Tensor) bool {
			w := t.Written()
			return w <= a.synced || w < p.view(p.master, t).Written()
		})
		if p.asBank && len(stale) == len(p.tensors) {
			g.CastTo(p.Values, p.master)
			continue
		}
		for _, t := range stale {
			g.CastTo(t, p.view(p.master, t))
		}
	}
	if g.Err() == nil {
		a.synced = newest
	}
	return g.Err()
}

// Release frees the state. Steps that update with it must have finished; the
// optimizer can't be used afterwards.
func (a *Optimizer) Release() {
	for _, t := range a.arenas() {
		t.Release()
	}
	a.scaler.Release()
	a.counted.Release()
	a.released = true
	for _, p := range a.sets {
		p.Detach(a)
	}
}

// SetLR sets the learning rate of every group, for the steps staged from now
// on; Stage refuses an impossible one.
func (a *Optimizer) SetLR(lr float64) {
	a.noRate = -1
	for i := range a.groups {
		a.groups[i].LR = lr
	}
}

// Groups returns the parameter groups; their hyper-parameters may be changed
// between steps, their rules and parameters may not.
func (a *Optimizer) Groups() []Group {
	a.noRate = -1 // they are the caller's from now on
	return a.groups
}

// Sets returns the parameter sets that the optimizer updates.
func (a *Optimizer) Sets() []*ops.Params { return a.sets }

// Released reports whether Release was called.
func (a *Optimizer) Released() bool { return a.released }

// Slot is an f32 tensor of a parameter's shape in the optimizer's state.
type Slot struct {
	Name  string // "adamw.m": the rule's name, and its name for the moment, or "master"
	Title string // "first moment", "master copy"
	*ops.Tensor
}

// Slots returns the state of parameter t: what its rule remembers, and the master
// copy of 16-bit values. There is none for a tensor that is in no group, and after
// Release.
func (a *Optimizer) Slots(t *ops.Tensor) (slots []Slot) {
	p := a.home[t].part
	if p == nil || a.live() != nil {
		return nil
	}
	for i, s := range p.rule.Moments() {
		slots = append(slots, Slot{p.rule.Name() + "." + s.Name, s.Title, p.view(p.moments[i], t)})
	}
	if p.master != nil {
		slots = append(slots, Slot{MasterSlot(p.rule), "master copy", p.view(p.master, t)})
	}
	return slots
}

// MasterSlot returns the name of the slot of the master copy under a rule.
func MasterSlot(r Rule) string { return r.Name() + ".master" }

// SlotNames returns the names of all slots that the registered rules have.
func SlotNames() (names []string) {
	for _, r := range rules {
		for _, m := range r.Moments() {
			names = append(names, r.Name()+"."+m.Name)
		}
		names = append(names, MasterSlot(r))
	}
	return names
}

// Master returns the master copy of parameter t, nil where there is none.
func (a *Optimizer) Master(t *ops.Tensor) *ops.Tensor {
	if p := a.home[t].part; p != nil && p.master != nil && a.live() == nil {
		return p.view(p.master, t)
	}
	return nil
}
