package ops

import "slices"

// headChunk bounds the logits that LinearCrossEntropy holds at a time, in values,
// where more would not save anything.
const headChunk = 1 << 22

// LinearCrossEntropy is CrossEntropy(hidden·weightᵀ, targets) without the
// (N, V) matrix: hidden (…, D) goes through the head weight (V, D) in chunks of
// rows, and only one chunk of logits exists at a time: of 16 MiB, or 128 rows, and
// with d weight, which each chunk adds to, of up to an eighth of what the operations
// before it have made.
// Logits are f32 also when hidden and weight are of a 16-bit type, and so is
// the sum over the chunks of d weight, so the loss is that of f32 and d weight
// is rounded once; d logits is rounded before it is multiplied by the 16-bit
// hidden and weight.
func (g *Graph) LinearCrossEntropy(hidden, weight, targets *Tensor, o *CrossEntropyOptions) *Tensor {
	loss, _ := g.linearCrossEntropy("linear cross-entropy", hidden, weight, targets, o, false)
	return loss
}

// LinearCrossEntropySum is to LinearCrossEntropy what [Graph.CrossEntropySum] is
// to CrossEntropy.
func (g *Graph) LinearCrossEntropySum(hidden, weight, targets *Tensor, o *CrossEntropyOptions) (sum, count *Tensor) {
	return g.linearCrossEntropy("linear cross-entropy sum", hidden, weight, targets, o, true)
}

func (g *Graph) linearCrossEntropy(op string, hidden, weight, targets *Tensor, o *CrossEntropyOptions, sum bool) (loss, count *Tensor) {
	if o == nil {
		o = &CrossEntropyOptions{}
	}
	if !g.ok(op, hidden, weight, targets) || !o.check(g, op) ||
		!g.check(hidden.dtype.Float() && weight.dtype == hidden.dtype && isIndex(targets), op, "hidden %v, weight %v, targets %v: want one float type and an integer type", hidden, weight, targets) ||
		!g.check(len(weight.shape) == 2 && len(hidden.shape) > 0 && hidden.cols() == weight.shape[1], op, "hidden %v, weight %v: widths differ", hidden, weight) ||
		!g.check(slices.Equal(hidden.shape[:len(hidden.shape)-1], targets.shape), op, "hidden %v and targets %v: leading shapes differ", hidden, targets) {
		return g.bad(F32), g.bad(F32)
	}
	n, v := targets.Len(), weight.shape[0]
	count, divisor := g.divisor(op, targets, v, o.IgnoreIndex, sum)
	h := &linearHead{
		g: g, options: o, weight: weight, hidden: hidden.view(0, n, hidden.cols()), targets: targets.view(0, n),
		divisor: divisor,
		each:    g.New(F32, n, 1), // a row each: any chunk of it starts where a device can bind
	}
	room := g.headRoom(weight)
	node := g.add(op, h.chunks(g.head, nil, nil, nil, false, false)...)
	loss = g.meanLoss(op, h.each, divisor)
	g.means[loss] = divisor
	g.record(op, loss, func(dy *Tensor) {
		var dh, dw *Tensor
		var addH, addW bool
		values := g.head
		if g.wants(hidden) {
			dh, addH = g.grad(hidden)
			dh = dh.view(0, h.hidden.shape...)
		}
		if g.wants(weight) {
			dw, addW = g.grad(weight)
			values = max(values, room)
		}
		// Where dy is known before the loss is computed, as the seed of Backward is,
		// the forward pass is replaced by one that turns each chunk of logits into
		// gradients while it is there. That is too early where this has to add to a
		// gradient that another operation of the backward pass writes. What an
		// accumulated gradient holds from earlier runs is there from the start.
		early := !node.ran && g.known(dy, node) && !addH && !(addW && !g.accumulates(weight))
		if calls := h.chunks(values, dy, dh, dw, addH, addW); early {
			node.calls = calls
		} else {
			g.add(op+" backward", calls...)
		}
	}, hidden, weight)
	return loss, count
}

// headAlign is what the rows of a chunk are a multiple of, so that chunks of
// every tensor, u16 targets too, start at a multiple of 256 bytes, where any
// device can bind.
const headAlign = 128

// linearHead is one LinearCrossEntropy.
type linearHead struct {
	g              *Graph
	options        *CrossEntropyOptions
	hidden, weight *Tensor // (N, D), (V, D)
	targets        *Tensor // (N)
	divisor, each  *Tensor // see divisor
}

// headRoom is how many values of logits may be held at a time to read and write
// the sum of d weight, as large as the weight in f32, less often: an eighth of the
// intermediates so far, which a backward pass needs, and as much as the weight, its
// gradient and moments take in f32. It depends on shapes and device only, so that
// results are repeatable.
func (g *Graph) headRoom(weight *Tensor) int {
	caps := g.dev.Info().Caps
	return int(min(g.made/8, 16*int64(weight.Len()), int64(min(caps.MaxStorageRange, caps.MaxAllocation))) / 4)
}

// chunkRows cuts the rows into chunks of about the same size, of so many values of
// logits at most where headAlign rows have no more.
func (h *linearHead) chunkRows(values int) int {
	n, v := h.targets.Len(), 4*ceilDiv(h.weight.shape[0], 4)
	most := max(values/v/headAlign, 1) * headAlign
	return ceilDiv(ceilDiv(n, ceilDiv(n, most)), headAlign) * headAlign
}

// chunks lists the calls for all rows, of which one chunk has about so many values
// of logits: losses and, with dy, the gradient of the loss, its shares of d hidden
// and d weight where those are wanted.
func (h *linearHead) chunks(values int, dy, dh, dw *Tensor, addH, addW bool) []Call {
	g, n, rows := h.g, h.targets.Len(), h.chunkRows(values)
	var calls []Call
	sum := dw
	if dw != nil && dw.dtype != F32 {
		sum = g.New(F32, dw.shape...)
		if addW {
			calls = append(calls, g.castCall(dw, sum))
		}
	}
	for lo := 0; lo < n && g.err == nil; lo += rows {
		calls = append(calls, h.chunk(lo, min(lo+rows, n), dy, dh, sum, addH, addW || lo > 0)...)
	}
	if sum != dw {
		calls = append(calls, g.castCall(sum, dw))
	}
	return calls
}

func (h *linearHead) chunk(lo, hi int, dy, dh, dw *Tensor, addH, addW bool) []Call {
	g, dt := h.g, h.hidden.dtype
	hidden := g.rows(h.hidden, lo, hi)
	logits := g.New(F32, hi-lo, h.weight.shape[0])
	loss := g.crossEntropyCall(logits, g.rows(h.targets, lo, hi), g.rows(h.each, lo, hi), h.options)
	calls := g.matmulCalls("nt", hidden, h.weight, nil, logits, 1, false)
	if dy == nil {
		return append(calls, loss)
	}
	dlogits := g.New(dt, logits.shape...)
	calls = append(calls, loss.withGrad(h.divisor, dy, dlogits, false))
	if dh != nil {
		calls = append(calls, g.matmulCalls("nn", dlogits, h.weight, nil, g.rows(dh, lo, hi), 1, addH)...)
	}
	if dw != nil {
		calls = append(calls, g.matmulCalls("tn", dlogits, hidden, nil, dw, 1, addW)...)
	}
	return calls
}
