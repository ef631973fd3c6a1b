package ops

import "slices"

// headChunk bounds the logits that LinearCrossEntropy holds at a time, in values.
const headChunk = 1 << 22

// LinearCrossEntropy is CrossEntropy(hidden·weightᵀ, targets) without the
// (N, V) matrix: hidden (…, D) goes through the head weight (V, D) in chunks of
// rows, and only one chunk of logits exists at a time. Memory is O(chunk·V).
// The result is the same up to the order of f32 sums.
func (g *Graph) LinearCrossEntropy(hidden, weight, targets *Tensor, o *CrossEntropyOptions) *Tensor {
	const op = "linear cross-entropy"
	if o == nil {
		o = &CrossEntropyOptions{}
	}
	if !g.ok(op, hidden, weight, targets) || !o.check(g, op) ||
		!g.check(hidden.dtype.Float() && weight.dtype == hidden.dtype && isIndex(targets), op, "hidden %v, weight %v, targets %v: want one float type and an integer type", hidden, weight, targets) ||
		!g.check(len(weight.shape) == 2 && len(hidden.shape) > 0 && hidden.cols() == weight.shape[1], op, "hidden %v, weight %v: widths differ", hidden, weight) ||
		!g.check(slices.Equal(hidden.shape[:len(hidden.shape)-1], targets.shape), op, "hidden %v and targets %v: leading shapes differ", hidden, targets) {
		return g.bad(F32)
	}
	n, d, v := targets.Len(), hidden.cols(), weight.shape[0]
	flat := func(t *Tensor, shape ...int) *Tensor { return t.view(0, shape...) }
	h, ids := flat(hidden, n, d), flat(targets, n)
	count := g.checkIDs(op, targets, v, o.IgnoreIndex)
	each := g.New(F32, n, 1) // a row each: any chunk of it starts where a device can bind
	size := g.headRows(n, v)

	// chunk computes rows lo to hi: losses, and with a gradient of the loss its
	// shares of d hidden and d weight.
	chunk := func(lo, hi int, dy, dh, dw *Tensor, addH, addW bool) []Call {
		hc, tc, ec := g.rows(h, lo, hi), g.rows(ids, lo, hi), g.rows(each, lo, hi)
		logits := g.New(hidden.dtype, hi-lo, v)
		head := g.crossEntropyCall(logits, tc, ec, o)
		head.Push = withLossCols(head.Push.(crossEntropyPush), 1)
		calls := []Call{g.matmulCall("nt", hc, weight, logits, 1, false)}
		if dy == nil {
			return append(calls, head)
		}
		dlogits := g.New(hidden.dtype, hi-lo, v)
		calls = append(calls, head.withGrad(count, dy, dlogits))
		if dh != nil {
			calls = append(calls, g.matmulCall("nn", dlogits, weight, g.rows(dh, lo, hi), 1, addH))
		}
		if dw != nil {
			calls = append(calls, g.matmulCall("tn", dlogits, hc, dw, 1, addW || lo > 0))
		}
		return calls
	}
	all := func(dy, dh, dw *Tensor, addH, addW bool) (calls []Call) {
		for lo := 0; lo < n && g.err == nil; lo += size {
			calls = append(calls, chunk(lo, min(lo+size, n), dy, dh, dw, addH, addW)...)
		}
		return calls
	}

	node := g.add(op, all(nil, nil, nil, false, false)...)
	loss := g.meanLoss(op, each, count)
	g.record(op, loss, func(dy *Tensor) {
		var dh, dw *Tensor
		var addH, addW bool
		if g.wants(hidden) {
			dh, addH = g.grad(hidden)
			dh = flat(dh, n, d)
		}
		if g.wants(weight) {
			dw, addW = g.grad(weight)
		}
		// A gradient that others have written already must be added to after
		// them, so the pass can't move up to where the loss is computed.
		early := !node.ran && g.known(dy, node) && !(dh != nil && addH) && !(dw != nil && addW && !g.accumulate)
		if calls := all(dy, dh, dw, addH, addW); early {
			node.calls = calls
		} else {
			g.add(op+" backward", calls...)
		}
	}, hidden, weight)
	return loss
}

func withLossCols(p crossEntropyPush, cols uint32) crossEntropyPush {
	p.LossCols = cols
	return p
}

// headRows is how many rows of logits a chunk has: a multiple of 64, so that
// chunks of every tensor start where any device can bind.
func (g *Graph) headRows(n, v int) int {
	rows := max(headChunk/v/64*64, 64)
	return min(rows, n)
}
