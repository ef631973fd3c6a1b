package ops

import (
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// Sum returns the sum of all values of x, an f32 scalar, which may be a loss.
// Sums are compensated and f32 whatever the storage type. d x = d y for each value.
func (g *Graph) Sum(x *Tensor) *Tensor { return g.sumAll("sum", x, false) }

// Mean returns Sum over the number of values.
func (g *Graph) Mean(x *Tensor) *Tensor { return g.sumAll("mean", x, true) }

// RowSum returns the sum over the last dimension of x (…, D) as (…, 1), of x's
// type. d x[n, d] = d y[n].
func (g *Graph) RowSum(x *Tensor) *Tensor { return g.sumRows("row sum", x, false) }

// RowMean returns RowSum over D.
func (g *Graph) RowMean(x *Tensor) *Tensor { return g.sumRows("row mean", x, true) }

func (g *Graph) sumAll(op string, x *Tensor, mean bool) *Tensor {
	if !g.ok(op, x) || !g.check(x.dtype.Float(), op, "%v: want a float type", x) {
		return g.bad(F32)
	}
	factor := float32(1)
	if mean {
		factor /= float32(x.Len())
	}
	y := g.New(F32)
	columns := x
	var calls []Call
	if x.rows() > 1 || x.dtype != F32 {
		columns = g.New(F32, x.cols())
		calls = g.columnSumCalls(x, 1, columns, false)
	}
	g.add(op, append(calls, g.rowSumCalls(columns, y, factor, false)...)...)
	g.record(op, y, func(dy *Tensor) { g.addGrad(x, g.expanded(op, g.castTo(g.scaled(dy, factor), x.dtype), x.shape)) }, x)
	return y
}

func (g *Graph) sumRows(op string, x *Tensor, mean bool) *Tensor {
	if !g.ok(op, x) || !g.check(x.dtype.Float() && len(x.shape) > 0, op, "%v: want a float type and a dimension", x) {
		return g.badLike(x)
	}
	factor := float32(1)
	if mean {
		factor /= float32(x.cols())
	}
	y := g.New(x.dtype, append(slices.Clone(rowDims(x.shape)), 1)...)
	g.add(op, g.rowSumCalls(x, y, factor, false)...)
	g.record(op, y, func(dy *Tensor) {
		if factor != 1 {
			dy = g.scaled(dy, factor)
		}
		g.addGrad(x, g.expanded(op, dy, x.shape))
	}, x)
	return y
}

// rowSumPer is how many groups of four values an invocation of kernel rowsum adds
// up at most.
const rowSumPer = 64

// rowSumCalls write the sums of the rows of x times factor to dst, of as many
// rows of one value, or add them to what is there. x and dst are of one float
// type, or either is f32.
func (g *Graph) rowSumCalls(x, dst *Tensor, factor float32, add bool) []Call {
	var calls []Call
	for rows := x.rows(); x != dst; {
		local := g.rowLocal(x.stride4())
		y, parts, variant := dst, ceilDiv(x.stride4(), int(local)*rowSumPer), x.dtype.String()
		final := parts == 1 && (x.dtype == F32 || dst.dtype == F32)
		if !final {
			y = g.New(F32, rows, 4*parts)
		}
		if y.dtype != x.dtype {
			variant += "_" + y.dtype.String()
		}
		calls = append(calls, Call{Kernel: "rowsum." + variant, Groups: g.tune.strides(rows*parts, rowTurns(min(x.stride4(), int(local)*rowSumPer), local)), Local: local,
			Spec: map[uint32]uint32{shaders.SpecFinal: b2u(final), shaders.SpecAdd: b2u(final && add)}, Push: struct {
				N, Stride4, Parts, Per4 uint32
				Factor                  float32
			}{uint32(rows), uint32(x.stride4()), uint32(parts), local * rowSumPer, factor}, Args: []*Tensor{x, y}})
		x = y
	}
	return calls
}

// addGradSum gives x its share dx of the gradient, in a shape that x was
// broadcast to; nil is none.
func (g *Graph) addGradSum(op string, x, dx *Tensor) {
	switch {
	case dx == nil || !g.wants(x) || g.err != nil:
	case dx.Len() == x.Len():
		g.addGrad(x, dx.view(0, x.shape...))
	default:
		dst, add := g.grad(x)
		g.add(op, g.sumTo(dx, dst, add)...)
	}
}

// sumTo sums x over the dimensions along which dst would be repeated to get its
// shape, one run of neighboring dimensions after the other.
func (g *Graph) sumTo(x, dst *Tensor, add bool) (calls []Call) {
	own := slices.Clone(x.shape)
	want := make([]int, len(own))
	for i := range want {
		want[i] = 1
		if at := i - len(own) + len(dst.shape); at >= 0 {
			want[i] = dst.shape[at]
		}
	}
	last := len(own) - 1
	columns := own[last] != want[last]
	for end := last; end > 0; end-- {
		start := end
		for start > 0 && own[start-1] != want[start-1] {
			start--
		}
		if start == end {
			continue
		}
		for i := start; i < end; i++ {
			own[i] = 1
		}
		y, accumulate := dst, add
		if columns || product(own) != dst.Len() {
			y, accumulate = g.New(F32, own...), false
		}
		calls = append(calls, g.columnSumCalls(x, product(own[:start]), y, accumulate)...)
		x = y
	}
	if columns {
		calls = append(calls, g.rowSumCalls(x, dst, 1, add)...)
	}
	return calls
}
