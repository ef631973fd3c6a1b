package ops

// Softmax returns exp(x)/Σ exp(x), the sum over the last dimension, of x's type
// and shape (…, V). Values of −inf give 0; a row with NaN or +inf, or of −inf
// alone, gives NaN.
//
//	d x[j] = y[j] · (d y[j] − Σ over k of y[k]·d y[k])
func (g *Graph) Softmax(x *Tensor) *Tensor {
	const op = "softmax"
	if !g.ok(op, x) || !g.check(x.dtype.Float() && len(x.shape) > 0, op, "%v: want a float type and a dimension", x) {
		return g.badLike(x)
	}
	groups, local := g.rowGroups(x.rows(), x.stride4())
	call := func(kernel string, takeOver [2]int, args ...*Tensor) Call {
		return Call{Kernel: kernel + "." + x.dtype.String(), Groups: groups, Local: local,
			Push: struct{ N, V, Stride4 uint32 }{uint32(x.rows()), uint32(x.cols()), uint32(x.stride4())}, Args: args, TakeOver: takeOver}
	}
	y := g.New(x.dtype, x.shape...)
	g.add(op, call("softmax", [2]int{1, 0}, x, y))
	g.record(op, y, func(dy *Tensor) {
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call { return call("softmax_back", [2]int{2, 1}, y, dy, dx[0]) }, x)
	}, x)
	return y
}
