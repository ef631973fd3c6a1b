package ops

// columnSumPer is how many rows one invocation of kernel columnsum adds up.
const columnSumPer = 128

// columnSum writes the sum over the rows of x (…, D) to dst (D), or adds it to
// what is there:
//
//	dst[d] = Σ over n of x[n, d]
//
// It is a tree of f32 sums, one level of columnSumPer rows per call, so its error
// does not grow with the number of rows. x and dst are of one float type, or
// either is f32.
func (g *Graph) columnSum(x, dst *Tensor, add bool) {
	const op = "column sum"
	if !g.ok(op, x, dst) || !g.check(x.dtype.Float() && dst.dtype.Float() && (x.dtype == dst.dtype || x.dtype == F32 || dst.dtype == F32),
		op, "%v to %v: want one float type, or f32", x, dst) ||
		!g.check(dst.cols() == x.cols() && dst.rows() == 1, op, "%v to %v: want a value for each column", x, dst) {
		return
	}
	g.add(op, g.columnSumCalls(x, dst, add)...)
}

// columnSumCalls is columnSum of arguments known to fit.
func (g *Graph) columnSumCalls(x, dst *Tensor, add bool) []Call {
	var calls []Call
	for x != dst {
		y, accumulate, variant := dst, add, x.dtype.String()
		if x.rows() > columnSumPer || x.dtype != F32 && dst.dtype != F32 {
			y, accumulate = g.New(F32, ceilDiv(x.rows(), columnSumPer), x.cols()), false
		}
		if y.dtype != x.dtype {
			variant += "_" + y.dtype.String()
		}
		calls = append(calls, Call{Kernel: "columnsum." + variant, Threads: y.len4(), Spec: map[uint32]uint32{10: columnSumPer}, Push: struct {
			Rows, Stride4, Accumulate uint32
		}{uint32(x.rows()), uint32(x.stride4()), b2u(accumulate)}, Args: []*Tensor{x, y}})
		x = y
	}
	return calls
}
