package ops

import "slices"

// LogProb returns log softmax(logits)[target] for each position, f32 of the shape
// of targets: logits (…, V) is of a float type, targets (…) of I32, U32 or U16.
// A target of *ignore, if that is not nil, has 0 and no gradient. Others outside
// [0, V) are found on the device, see [Step.Wait]. All arithmetic is f32.
//
//	d logits[n, j] = (1{j = target} − softmax(logits[n])[j]) · d y[n]
func (g *Graph) LogProb(logits, targets *Tensor, ignore *int) *Tensor {
	const op = "log-probability"
	o := &CrossEntropyOptions{IgnoreIndex: ignore}
	if !g.ok(op, logits, targets) || !g.checkCrossEntropy(op, logits, targets, o) {
		return g.bad(F32)
	}
	_, ones := g.divisor(op, targets, logits.cols(), ignore, true)
	loss := g.New(F32, targets.shape...) // −y
	head := g.crossEntropyCall(logits, targets, loss, o)
	g.add(op, head)
	y := g.scaled(loss, -1)
	g.record(op, y, func(dy *Tensor) {
		up := g.scaled(dy, -1)
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call { return head.withGrad(ones, up, dx[0], true) }, logits)
	}, logits)
	return y
}

// checkCrossEntropy checks what all that compare logits with targets take.
func (g *Graph) checkCrossEntropy(op string, logits, targets *Tensor, o *CrossEntropyOptions) bool {
	return o.check(g, op) &&
		g.check(logits.dtype.Float() && isIndex(targets), op, "logits %v, targets %v: want a float type and an integer type", logits, targets) &&
		g.check(len(logits.shape) > 0 && slices.Equal(logits.shape[:len(logits.shape)-1], targets.shape), op,
			"logits %v and targets %v: leading shapes differ", logits, targets)
}

// ArgMax returns the position of the largest value of each row of x (…, D), the
// first of several, as I32 of shape (…). A NaN counts as larger than any number.
// Nothing flows back.
func (g *Graph) ArgMax(x *Tensor) *Tensor {
	const op = "argmax"
	if !g.ok(op, x) || !g.check(x.dtype.Float() && len(x.shape) > 0, op, "%v: want a float type and a dimension", x) {
		return g.bad(I32)
	}
	y := g.New(I32, rowDims(x.shape)...)
	groups, local := g.rowGroups(x.rows(), x.stride4())
	g.add(op, Call{Kernel: "argmax." + x.dtype.String(), Groups: groups, Local: local,
		Push: struct{ N, D, Stride4 uint32 }{uint32(x.rows()), uint32(x.cols()), uint32(x.stride4())}, Args: []*Tensor{x, y}})
	return y
}
