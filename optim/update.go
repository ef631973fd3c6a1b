package optim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
)

// Update is one recording of the optimizer in a graph.
type Update struct {
	opt     *Optimizer
	parts   []*Part
	hyper   *ops.Tensor // u32 (classes, 16): the kernels' HYPER
	ctrl    *ops.Tensor
	clip    *ops.Tensor
	scaler  *ops.Tensor // the optimizer's, as this graph's output
	words   []uint32    // hyper as staged
	params  []int       // those that move, as indices into opt.params
	class   []uint32    // the class of each: those of one group and step count share a record of hyper
	leader  []int       // a parameter of each class, as an index into opt.params: its group and count are the class's
	step    *ops.Step
	settled int64 // runs of step that opt.steps counts
}

// maxClasses bounds how many different (group, step count) pairs one update
// may hold: 64 bytes each travel to the device every step.
const maxClasses = 1024

// Record appends gradient norm, clipping and the update of params to g. When
// none are named they are those that Backward found a gradient for, or, in a
// graph without Backward, all. The others, and those in no group, neither count
// in the norm nor move, and their step count stays. In a graph without Backward the
// gradients are those of other steps, and serve one update: Run is an error when none
// were computed since, or uploaded. Errors stick to g, which
// must be one to compile: Backward that comes after Record, or is another
// optimizer's, a parameter that is updated twice.
func (a *Optimizer) Record(g *ops.Graph, params ...*ops.Tensor) *Update {
	u := &Update{opt: a}
	a.recorded = true
	params, err := a.moved(g, params)
	if err == nil {
		err = u.divide(g, params)
	}
	if err != nil {
		g.Fail("optimizer", err)
		return u
	}
	g.Updater().Updates(a, params...)
	classes := min(len(params), maxClasses)
	u.words = make([]uint32, classes*16)
	u.hyper = g.Input("hyper-parameters", ops.U32, classes, 16)
	g.Updater().StageEachRun(u.hyper, "Update.Stage")
	u.ctrl = g.Input("clip control", ops.F32, 8)
	u.scaler = a.scaler
	grads := make([]measured, len(u.parts))
	for i, p := range u.parts {
		grads[i] = measured{p.grads(), &p.chunks}
	}
	if a.expect != 0 {
		a.divide(g, grads)
	}
	u.clip = recordNorm(g, grads, u.ctrl, a.scaler, a.opts.Scaler != nil)
	for _, p := range u.parts {
		p.hyper, p.clip = u.hyper, u.clip
		p.rule.Record(g, p)
	}
	if a.opts.Accumulate {
		for _, b := range a.banks {
			g.Fill(b.grads(), 0)
		}
	}
	g.Output(u.clip)
	g.Output(a.scaler)
	if g.Err() == nil {
		c := a.scaling
		skip := float32(1 << 64) // squares of more overflow the second moment, which freezes a value for ever
		if a.opts.KeepNonFinite {
			skip = 0
		}
		g.Fail("optimizer", ops.Upload(context.Background(), u.ctrl, []float32{maxNormWord(a.opts.MaxNorm), skip, float32(c.Interval), float32(c.Growth), float32(c.Backoff), 0, 0, 0}))
	}
	return u
}

// moved returns the parameters that an update recorded in g is to change.
func (a *Optimizer) moved(g *ops.Graph, params []*ops.Tensor) ([]*ops.Tensor, error) {
	var reached []*ops.Tensor
	for _, p := range a.sets {
		if r := g.Updater().Reached(p); r != nil {
			reached = append(append([]*ops.Tensor{}, reached...), r...)
		}
	}
	if len(params) == 0 {
		if params = reached; params == nil {
			params = a.params
		}
	}
	known := func(t *ops.Tensor) bool { h, ok := a.home[t]; return ok && h.set.Grad(t) != nil }
	params, err := distinct(params, known)
	params = slices.DeleteFunc(params, func(t *ops.Tensor) bool { return a.home[t].group < 0 })
	switch {
	case err != nil:
		return nil, err
	case g.Immediate():
		return nil, errors.New("an update has numbers to stage before it runs: record it in a graph from NewGraph")
	case a.live() != nil:
		return nil, a.live()
	case len(params) == 0:
		return nil, errors.New("no parameter of the optimizer's groups has a gradient in this graph")
	case reached != nil && a.ownBackward() && g.Updater().Optimizer() != ops.Optimizer(a):
		return nil, errors.New("the backward pass of this graph is not this optimizer's, which scales the loss or accumulates gradients: create the optimizer before g.Backward(loss, nil), or call its Backward")
	case reached != nil && !a.ownBackward() && g.Updater().Optimizer() != nil:
		return nil, errors.New("the backward pass of this graph is another optimizer's, which scales the loss or accumulates gradients: call this one's Backward")
	}
	return params, nil
}

// divide makes the parts of an update of params.
func (u *Update) divide(g *ops.Graph, params []*ops.Tensor) error {
	number := map[*ops.Tensor]int{} // of those that move
	for i, t := range params {
		number[t] = i
		u.params = append(u.params, u.opt.home[t].index)
	}
	u.class = make([]uint32, len(params))
	for _, whole := range u.opt.parts {
		p := &Part{part: whole}
		for _, t := range whole.tensors {
			if i, moves := number[t]; moves {
				_, off4, n4 := p.set.Place(t)
				p.reached = append(p.reached, t)
				p.add(off4, n4, p.off4[t], i, g.Updater().Chunk4())
			}
		}
		if len(p.reached) == 0 {
			continue
		}
		if err := p.alloc(g); err != nil {
			return err
		}
		u.parts = append(u.parts, p)
	}
	return nil
}

// Norm returns the global gradient norm before clipping, of the unscaled
// gradients, as the last run of step left it; it waits for that run.
func (u *Update) Norm(ctx context.Context) (float64, error) {
	var c [8]float32
	err := ops.Download(ctx, u.clip, c[:])
	return float64(c[0]), err
}

// Skipped reports whether the last run updated nothing because its gradient
// norm was not finite, or at least 2^64 after clipping, where squares overflow
// the second moment; it waits for that run.
func (u *Update) Skipped(ctx context.Context) (bool, error) {
	var c [8]float32
	err := ops.Download(ctx, u.clip, c[:])
	return math.Float32bits(c[2]) != 0, err
}

// Stage computes the numbers of the next step, from the groups'
// hyper-parameters and each tensor's step count, and stages them for the next
// Run of step, the compiled graph that u was recorded in. Call it once before
// each Run, which is an error without it, and Run before Stage of another recording of the same optimizer. It
// allocates nothing, except where the optimizer changes from one recording to
// another, which also waits for the device.
func (u *Update) Stage(step *ops.Step) error {
	a := u.opt
	if u.hyper == nil || step == nil {
		return errors.New("optim: stage: the graph was not compiled")
	}
	if a.released {
		return errors.New("optim: stage: the optimizer was released")
	}
	if a.noRate >= 0 {
		return fmt.Errorf("optim: stage: the learning rate of group %d is 0: set Hyper.LR (to optim.Zero for 0), or call SetLR", a.noRate)
	}
	if err := a.checkGroups(); err != nil {
		return err
	}
	if err := a.syncMasters(); err != nil {
		return err
	}
	if u.step != step {
		var norm [8]float32
		if _, err := ops.Completed(step, u.clip, norm[:]); err != nil {
			return fmt.Errorf("optim: stage: a step of another graph: %w", err)
		}
		u.step, u.settled = step, step.Runs()
	}
	if a.last != u {
		if err := a.settle(context.Background()); err != nil {
			return err
		}
		u.settled = step.Runs()
		if err := u.classify(); err != nil {
			return err
		}
		a.last = u
	}
	if err := step.Ready(context.Background()); err != nil {
		return err
	}
	if err := u.account(); err != nil {
		return err
	}
	pending := step.Runs() - u.settled // at most one, as Ready waited
	for c, i := range u.leader {
		u.stageClass(u.words[c*16:c*16+16], &a.groups[a.home[a.params[i]].group], a.steps[i]+pending+1)
	}
	return ops.Upload(context.Background(), u.hyper, u.words)
}

// stageClass fills one record of HYPER for step t, and for the steps before it
// in case the unsettled ones turn out to be skipped.
func (u *Update) stageClass(w []uint32, gr *Group, t int64) {
	put := func(i int, v float64) { w[i] = math.Float32bits(float32(v)) }
	h := gr.Hyper.or(gr.Rule.Defaults())
	for j := int64(0); j < 4; j++ {
		fixed, step := gr.Rule.Numbers(h, max(t-j, 1))
		for i, v := range fixed {
			put(i, v)
		}
		put(8+2*int(j), step[0])
		put(9+2*int(j), step[1])
	}
	w[7] = u.opt.skips
}

// classify groups the parameters by (group, steps taken): they share a record.
func (u *Update) classify() error {
	type key struct {
		group int
		steps int64
	}
	index := map[key]uint32{}
	u.leader = u.leader[:0]
	for i, at := range u.params {
		k := key{u.opt.home[u.opt.params[at]].group, u.opt.steps[at]}
		c, ok := index[k]
		if !ok {
			c = uint32(len(u.leader))
			index[k] = c
			u.leader = append(u.leader, at)
		}
		u.class[i] = c
	}
	if len(u.leader)*16 > len(u.words) {
		return fmt.Errorf("optim: %d different step counts in one update, want at most %d", len(u.leader), maxClasses)
	}
	for _, p := range u.parts {
		if err := p.setClasses(u.class); err != nil {
			return err
		}
	}
	return nil
}

// account adds the finished runs of u to the step counts, less the skipped ones: the
// device counts these, and what it counted after a run comes with its outputs.
func (u *Update) account() error {
	var w [4]uint32
	run, err := ops.Completed(u.step, u.scaler, w[:])
	if _, bad := errors.AsType[*ops.BadIndexError](err); bad { // for Wait to tell: the counters are right
		err = nil
	}
	if err != nil || run <= u.settled {
		return err
	}
	taken := run - u.settled - int64(w[2]-u.opt.skips)
	for _, i := range u.params {
		u.opt.steps[i] += taken
	}
	u.settled, u.opt.skips = run, w[2]
	return nil
}

// settle waits for the runs of the last update and accounts for all of them.
func (a *Optimizer) settle(ctx context.Context) error {
	if a.last == nil {
		return nil
	}
	if err := a.sets[0].Device().Wait(ctx); err != nil {
		return fmt.Errorf("optim: %w", err)
	}
	return a.last.account()
}

// Gradient returns what the update reads as the gradient of parameter t: of the loss times
// the loss scale, and before clipping. Where passes are accumulated it is their sum, which
// the update makes zeros; else it stays until the next pass. It is nil where the update does not
// move t.
func (u *Update) Gradient(t *ops.Tensor) *ops.Tensor {
	for _, p := range u.parts {
		if slices.Contains(p.reached, t) {
			_, off4, _ := p.set.Place(t)
			return p.set.PartAt(p.grads(), t, off4)
		}
	}
	return nil
}
