package ops

import "github.com/lemnos-ml/lemnos/shaders"

// columnSumPer is how many rows one invocation of kernel columnsum adds up.
const columnSumPer = 128

// columnSumPush is the push block of kernel columnsum, and what it has in a list of
// each sum: of one matrix or several.
type columnSumPush struct {
	Matrices, Rows, Stride4, Accumulate uint32
	X0, Y0, First, Sums                 uint32 // where a sum of the list and its invocations begin; how many the list has
}

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
	g.add(op, g.columnSumCalls(x, 1, dst, add)...)
}

// columnSumCalls are the calls of columnSum, of arguments known to fit. x may be
// several matrices, one after the other, and dst then has a sum for each.
func (g *Graph) columnSumCalls(x *Tensor, matrices int, dst *Tensor, add bool) []Call {
	var calls []Call
	stride4 := dst.len4() / matrices
	for rows := x.len4() / dst.len4(); x != dst; rows = ceilDiv(rows, columnSumPer) {
		y, accumulate, variant := dst, add, x.dtype.String()
		if rows > columnSumPer || x.dtype != F32 && dst.dtype != F32 {
			y, accumulate = g.New(F32, matrices*ceilDiv(rows, columnSumPer), 4*stride4), false
		}
		if y.dtype != x.dtype {
			variant += "_" + y.dtype.String()
		}
		calls = append(calls, Call{Kernel: "columnsum." + variant, Threads: y.len4(), Spec: map[uint32]uint32{shaders.SpecPer: columnSumPer},
			Push: columnSumPush{Matrices: uint32(matrices), Rows: uint32(rows), Stride4: uint32(stride4), Accumulate: b2u(accumulate)}, Args: []*Tensor{x, x, y}})
		x = y
	}
	return calls
}
