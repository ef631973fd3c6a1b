package ops

import (
	"maps"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// CrossEntropyOptions are the variations of the loss; nil means none.
type CrossEntropyOptions struct {
	// IgnoreIndex, when set, is the target that marks a position without loss:
	// it adds nothing to the sum, the count or the gradient. PyTorch uses -100.
	IgnoreIndex *int
	// LabelSmoothing ε in [0, 1] mixes the target with the uniform distribution.
	LabelSmoothing float32
	// ZLoss λ ≥ 0 adds λ·lse² per position (PaLM), lse = log Σ exp(logits).
	ZLoss float32
}

func (o *CrossEntropyOptions) check(g *Graph, op string) bool {
	bad := func(v float32) bool { return math.IsNaN(float64(v)) || v < 0 || math.IsInf(float64(v), 0) }
	return g.check(!bad(o.LabelSmoothing) && o.LabelSmoothing <= 1, op, "label smoothing is %v, want 0 to 1", o.LabelSmoothing) &&
		g.check(!bad(o.ZLoss), op, "z-loss is %v, want a finite number of at least 0", o.ZLoss) &&
		g.check(o.IgnoreIndex == nil || int64(*o.IgnoreIndex) == int64(int32(*o.IgnoreIndex)), op, "ignore index %d does not fit 32 bits", value(o.IgnoreIndex))
}

func value(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}

// crossEntropyPush is the push block of kernel crossentropy.
type crossEntropyPush struct {
	N, V, Stride4, LossCols uint32
	Ignore                  int32
	HasIgnore               uint32
	Smoothing, ZLoss        float32
}

// CrossEntropy returns the mean over all positions of −log softmax(logits)[target],
// an f32 scalar. logits (…, V) is of a float type, targets (…) of I32, U32 or U16.
// All arithmetic is f32. Targets outside [0, V) are found on the device, see
// [Step.Wait].
//
// When loss is what [Graph.Backward] starts from, loss and gradient come out of
// one kernel, and the gradient overwrites the logits if nothing reads them later:
//
//	d logits[j] = (softmax(logits)[j] − 1{j = target}) · seed / count
func (g *Graph) CrossEntropy(logits, targets *Tensor, o *CrossEntropyOptions) *Tensor {
	loss, _ := g.CrossEntropyEach(logits, targets, o)
	return loss
}

// CrossEntropyEach is CrossEntropy that also returns the loss of each position,
// f32 of the targets' shape.
func (g *Graph) CrossEntropyEach(logits, targets *Tensor, o *CrossEntropyOptions) (loss, each *Tensor) {
	loss, each, _ = g.crossEntropy("cross-entropy", logits, targets, o, false)
	return loss, each
}

// CrossEntropySum is CrossEntropy without the division: it returns the sum over
// the positions that are not ignored, and how many these are, both f32 scalars.
// There may be none. With it the gradient of several batches is that of the mean
// over all their positions, be there fewer in one than in another; optim's
// optim.Optimizer.BackwardSum divides by the count.
func (g *Graph) CrossEntropySum(logits, targets *Tensor, o *CrossEntropyOptions) (sum, count *Tensor) {
	sum, _, count = g.crossEntropy("cross-entropy sum", logits, targets, o, true)
	return sum, count
}

func (g *Graph) crossEntropy(op string, logits, targets *Tensor, o *CrossEntropyOptions, sum bool) (loss, each, count *Tensor) {
	if o == nil {
		o = &CrossEntropyOptions{}
	}
	if !g.ok(op, logits, targets) || !g.checkCrossEntropy(op, logits, targets, o) {
		return g.bad(F32), g.bad(F32), g.bad(F32)
	}
	count, divisor := g.divisor(op, targets, logits.cols(), o.IgnoreIndex, sum)
	each = g.New(F32, targets.shape...)
	head := g.crossEntropyCall(logits, targets, each, o)
	n := g.add(op, head)
	loss = g.meanLoss(op, each, divisor)
	g.means[loss] = divisor
	g.record(op, loss, func(dy *Tensor) {
		dx, final := g.gradTarget(logits)
		fused := head.withGrad(divisor, dy, dx, false)
		if !n.ran && g.known(dy, n) {
			n.calls[0] = fused // d loss is known before the step: one pass does both
		} else {
			g.add(op+" backward", fused)
		}
		if !final {
			g.addGrad(logits, dx)
		}
	}, logits)
	return loss, each, count
}

// divisor checks the targets and returns how many count, and what the sum of
// their losses is divided by: f32[2] of a number and its inverse, ones for a sum.
func (g *Graph) divisor(op string, targets *Tensor, v int, ignore *int, sum bool) (count, divisor *Tensor) {
	if sum {
		return g.countIDs(op, targets, v, ignore), g.constant([]float32{1, 1}, 2)
	}
	count = g.checkIDs(op, targets, v, ignore)
	return count, count
}

// crossEntropyCall is the forward pass over the rows of logits.
func (g *Graph) crossEntropyCall(logits, targets, each *Tensor, o *CrossEntropyOptions) Call {
	push := crossEntropyPush{N: uint32(targets.Len()), V: uint32(logits.cols()), Stride4: uint32(logits.stride4()),
		LossCols: uint32(each.cols()), Smoothing: o.LabelSmoothing, ZLoss: o.ZLoss}
	if o.IgnoreIndex != nil {
		push.Ignore, push.HasIgnore = int32(*o.IgnoreIndex), 1
	}
	spec := map[uint32]uint32{shaders.SpecDeviceExp: b2u(g.tune.deviceExp)}
	maps.Copy(spec, idSpec(targets))
	groups, local := g.rowGroups(targets.Len(), logits.stride4())
	lanes := int(local)
	if targets.Len() >= g.tune.ownRows {
		lanes, groups = 1, g.tune.strides(ceilDiv(targets.Len(), int(local)), rowTurns(logits.stride4(), 1))
	}
	spec[shaders.SpecLanes] = uint32(lanes) // invocations that share a row
	keep := ceilDiv(logits.stride4(), lanes)
	if keep <= g.tune.crossEntropyKeep4 { // registers hold the whole row, which is read once
		spec[shaders.SpecTile4], spec[shaders.SpecWhole] = uint32((keep+3)/4*4), 1
	}
	if o.LabelSmoothing > 0 {
		spec[shaders.SpecSmooth] = 1
	}
	return Call{Kernel: "crossentropy." + logits.dtype.String(), Groups: groups, Local: local,
		Spec: spec, Push: push, Args: []*Tensor{logits, targets, g.status, each, g.status, g.status, each}} // the last three stand for what withGrad gives
}

// withGrad turns the forward call into the one that also writes d logits to dx, of
// the type of the logits or, where that is f32, another, given the divisor of the sum
// and d loss, or that of each row.
func (c Call) withGrad(divisor, dy, dx *Tensor, each bool) Call {
	c.Spec = maps.Clone(c.Spec)
	c.Spec[shaders.SpecGrad], c.Spec[shaders.SpecEach] = 1, b2u(each)
	c.Args = append(slices.Clone(c.Args[:4]), divisor, dy, dx)
	c.TakeOver = [2]int{len(c.Args) - 1, 0}
	if logits := c.Args[0]; dx.dtype != logits.dtype {
		c.Kernel += "_" + dx.dtype.String()
	}
	return c
}

// meanLoss returns the sum of each, over the first value of count.
func (g *Graph) meanLoss(op string, each, count *Tensor) *Tensor {
	loss := g.New(F32)
	g.add(op, Call{Kernel: "mean", Groups: 1, Local: g.scanLocal(each.len4()), Push: struct{ N, Cols uint32 }{uint32(each.Len()), uint32(each.cols())},
		Args: []*Tensor{each, count, loss}})
	return loss
}
