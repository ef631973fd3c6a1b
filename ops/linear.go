package ops

import "slices"

// Linear returns x·wᵀ + bias: x (…, K), w (N, K), bias (N) or nil is (…, N).
// d x = d y·w, d w = d yᵀ·x, d bias = Σ over rows of d y. Sums are f32 whatever
// the storage type, and the bias is added before rounding.
func (g *Graph) Linear(x, w, bias *Tensor) *Tensor {
	const op = "linear"
	if !g.ok(op, x, w) || bias != nil && !g.ok(op, bias) {
		return g.bad(F32)
	}
	if !g.check(x.dtype.Float() && x.dtype == w.dtype && len(x.shape) > 0 && len(w.shape) == 2, op,
		"%v by %v: want a weight matrix and one float type", x, w) ||
		!g.check(x.cols() == w.cols(), op, "%v by %v: widths %d and %d differ", x, w, x.cols(), w.cols()) ||
		!g.check(bias == nil || bias.dtype == x.dtype && slices.Equal(bias.shape, w.shape[:1]), op,
			"weight %v and bias %v: want one float type and a bias for each output", w, bias) {
		return g.bad(x.dtype)
	}
	y := g.New(x.dtype, append(slices.Clone(x.shape[:len(x.shape)-1]), w.shape[0])...)
	g.add(op, g.matmulCalls("nt", x.matrix(), w, bias, y, 1, false)...)
	inputs := []*Tensor{x, w}
	if bias != nil {
		inputs = append(inputs, bias)
	}
	g.record(op, y, func(dy *Tensor) {
		if g.wants(x) {
			dx, add := g.grad(x)
			g.add(op+" backward", g.matmulCalls("nn", dy.matrix(), w, nil, dx, 1, add)...)
		}
		if g.wants(w) {
			dw, add := g.grad(w)
			g.add(op+" backward", g.matmulCalls("tn", dy.matrix(), x.matrix(), nil, dw, 1, add)...)
		}
		if bias != nil && g.wants(bias) {
			db, add := g.grad(bias)
			g.columnSum(dy, db, add)
		}
	}, inputs...)
	return y
}
