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
	opt     *AdamW
	table   *chunkTable
	hyper   *ops.Tensor // u32 (classes, 16): the kernel's HYPER
	ctrl    *ops.Tensor
	clip    *ops.Tensor
	scaler  *ops.Tensor // the optimizer's, as this graph's output
	words   []uint32
	params  []int    // the parameters of the table, as indices into opt.steps
	class   []uint32 // of each of them
	leader  []int    // per class, the index into params of one that is in it
	step    *ops.Step
	settled int64 // runs of step accounted for in opt.steps
}

// maxClasses bounds how many different (group, step count) pairs one update
// may hold: 64 bytes each travel to the device every step.
const maxClasses = 1024

// Record appends gradient norm, clipping and the update of params to g. When
// none are named they are those that Backward found a gradient for, or, in a
// graph without Backward, all. The others, and those in no group, neither count
// in the norm nor move, and their step count stays. Errors stick to g, which
// must be one to compile: Backward that comes after Record, or is another
// optimizer's, a parameter that is updated twice.
func (a *AdamW) Record(g *ops.Graph, params ...*ops.Tensor) *Update {
	reached := g.Reached(a.params)
	if len(params) == 0 {
		if params = reached; params == nil {
			params = a.params.All()
		}
	}
	params, err := distinct(a.params, params)
	params = slices.DeleteFunc(params, func(t *ops.Tensor) bool { _, in := a.group[t]; return !in })
	switch {
	case err != nil:
	case g.Immediate():
		err = errors.New("an update has numbers to stage before it runs: record it in a graph from NewGraph")
	case a.banks == nil:
		err = errors.New("the optimizer was released")
	case len(params) == 0:
		err = errors.New("no parameter of the optimizer's groups has a gradient in this graph")
	case reached != nil && a.ownBackward() && g.Optimizer() != ops.Optimizer(a):
		err = errors.New("the backward pass of this graph is not this optimizer's, which scales the loss or accumulates gradients: create the optimizer before g.Backward(loss, nil), or call its Backward")
	case reached != nil && !a.ownBackward() && g.Optimizer() != nil:
		err = errors.New("the backward pass of this graph is another optimizer's, which scales the loss or accumulates gradients: call this one's Backward")
	}
	a.recorded = true
	u := &Update{opt: a, params: a.positions(params), class: make([]uint32, len(params))}
	if err == nil {
		u.table, err = newChunkTable(a.params, params, g.Chunk4())
	}
	if err != nil {
		g.Fail("adamw", err)
		return u
	}
	g.Own(u.table.tables...)
	g.Updates("adamw", params...)
	classes := min(len(params), maxClasses)
	u.words = make([]uint32, classes*16)
	u.hyper = g.Input("adamw", ops.U32, classes, 16)
	g.StageEachRun(u.hyper, "Update.Stage")
	u.ctrl = g.Input("clip control", ops.F32, 8)
	u.scaler = a.scaler
	grads := a.gradients()
	if a.expect != 0 {
		a.divide(g, grads, u.table)
	}
	u.clip = recordNorm(g, grads, u.table, u.ctrl, a.scaler, a.opts.Scaler != nil)
	for b, mo := range a.banks {
		n := u.table.chunks(b)
		if n == 0 {
			continue
		}
		bank := a.params.Banks()[b]
		args := []*ops.Tensor{u.table.tables[b], u.hyper, u.clip, grads[b], mo.m, mo.v, bank.Values}
		if mo.master != nil {
			args = append(args, mo.master)
		}
		kernel := fmt.Sprintf("adamw.%s_%s", a.params.DType(), grads[b].DType())
		g.Dispatch("adamw", ops.Call{Kernel: kernel, Groups: min(n, g.Workers()), Push: struct{ Chunks uint32 }{uint32(n)}, Args: args})
	}
	if a.opts.Accumulate {
		for _, sum := range grads {
			g.Fill(sum, 0)
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
		if err := ops.Upload(context.Background(), u.ctrl, []float32{maxNormWord(a.opts.MaxNorm), skip, float32(c.Interval), float32(c.Growth), float32(c.Backoff), 0, 0, 0}); err != nil {
			g.Fail("adamw", err)
		}
	}
	return u
}

// positions finds params, distinct tensors of the set, in its order.
func (a *AdamW) positions(params []*ops.Tensor) []int {
	at := make(map[*ops.Tensor]int, len(a.steps))
	for i, t := range a.params.All() {
		at[t] = i
	}
	list := make([]int, len(params))
	for i, t := range params {
		list[i] = at[t]
	}
	return list
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
	if a.banks == nil {
		return errors.New("optim: stage: the optimizer was released")
	}
	if a.noRate {
		return errors.New("optim: stage: the learning rate is 0: set Hyper.LR or call SetLR")
	}
	for i := range a.groups {
		if err := a.groups[i].Hyper.Validate(); err != nil {
			return fmt.Errorf("%w (group %d)", err, i)
		}
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
		h := a.groups[a.group[u.table.params[i]]].Hyper.orDefaults()
		u.stageClass(u.words[c*16:c*16+16], &h, a.steps[u.params[i]]+pending+1)
	}
	return ops.Upload(context.Background(), u.hyper, u.words)
}

// stageClass fills one record of HYPER for step t, and for the steps before it
// in case the unsettled ones turn out to be skipped.
func (u *Update) stageClass(w []uint32, h *Hyper, t int64) {
	put := func(i int, v float64) { w[i] = math.Float32bits(float32(v)) }
	put(0, h.Beta1)
	put(1, 1-h.Beta1)
	put(2, h.Beta2)
	put(3, 1-h.Beta2)
	put(4, max(h.Eps, 0x1p-126)) // keeps 0/(0+ε) 0 when ε is: in the padding of rows, too
	put(5, h.LR*h.WeightDecay)
	put(6, 0)
	if u.opt.opts.Variant == Torch {
		put(5, 0)
		put(6, h.LR*h.WeightDecay)
	}
	w[7] = u.opt.skips
	for j := int64(0); j < 4; j++ {
		s, d := h.rates(u.opt.opts.Variant, max(t-j, 1))
		put(8+2*int(j), s)
		put(9+2*int(j), d)
	}
}

// classify groups the parameters by (group, steps taken): they share a record.
func (u *Update) classify() error {
	type key struct {
		group int
		steps int64
	}
	index := map[key]uint32{}
	u.leader = u.leader[:0]
	for i, t := range u.table.params {
		k := key{u.opt.group[t], u.opt.steps[u.params[i]]}
		c, ok := index[k]
		if !ok {
			c = uint32(len(u.leader))
			index[k] = c
			u.leader = append(u.leader, i)
		}
		u.class[i] = c
	}
	if len(u.leader)*16 > len(u.words) {
		return fmt.Errorf("optim: %d different step counts in one update, want at most %d", len(u.leader), maxClasses)
	}
	if u.table.setClasses(u.class) {
		return u.table.upload()
	}
	return nil
}

// account adds the finished runs of u to the step counts, less the skipped ones.
func (u *Update) account() error {
	var w [4]uint32
	run, err := ops.Completed(u.step, u.scaler, w[:])
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
func (a *AdamW) settle(ctx context.Context) error {
	if a.last == nil {
		return nil
	}
	if err := a.params.Device().Wait(ctx); err != nil {
		return fmt.Errorf("optim: %w", err)
	}
	return a.last.account()
}
