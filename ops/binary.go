package ops

import (
	"cmp"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// operationNames are what errors call the operations of kernel binary.
var operationNames = [...]struct{ name, sign string }{shaders.Add: {"add", "+"}, shaders.Subtract: {"sub", "−"},
	shaders.Multiply: {"mul", "·"}, shaders.Divide: {"div", "/"}, shaders.DivideBack: {"div backward", "/"}}

// Add returns a + b. Shapes broadcast as NumPy's do: they are aligned at the last
// dimension, and a dimension that is 1 or missing in one of them is repeated, so
// that b may be a row (D), a column (N, 1) or a scalar of a (N, D). Both are of one
// float type. d a = d y and d b = d y, summed over what was repeated.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	return g.binary(shaders.Add, a, b, func(dy *Tensor) (*Tensor, *Tensor) { return dy, dy })
}

// Sub returns a − b; shapes as for [Graph.Add]. d a = d y, d b = −d y.
func (g *Graph) Sub(a, b *Tensor) *Tensor {
	return g.binary(shaders.Subtract, a, b, func(dy *Tensor) (da, db *Tensor) {
		if g.wants(b) {
			db = g.scaled(dy, -1)
		}
		return dy, db
	})
}

// Mul returns a·b, value by value; shapes as for [Graph.Add]. d a = b·d y, d b = a·d y.
func (g *Graph) Mul(a, b *Tensor) *Tensor {
	return g.binary(shaders.Multiply, a, b, func(dy *Tensor) (da, db *Tensor) {
		if g.wants(a) {
			da = g.combined(shaders.Multiply, dy, b, nil)
		}
		if g.wants(b) {
			db = g.combined(shaders.Multiply, dy, a, nil)
		}
		return da, db
	})
}

// Div returns a/b, value by value; shapes as for [Graph.Add]. d a = d y/b,
// d b = −d y·a/b².
func (g *Graph) Div(a, b *Tensor) *Tensor {
	return g.binary(shaders.Divide, a, b, func(dy *Tensor) (da, db *Tensor) {
		if g.wants(a) {
			da = g.combined(shaders.Divide, dy, b, nil)
		}
		if g.wants(b) {
			db = g.combined(shaders.DivideBack, a, b, dy)
		}
		return da, db
	})
}

// binary is y = a op b; back returns the gradients of a and b in the shape of y.
func (g *Graph) binary(o uint32, a, b *Tensor, back func(dy *Tensor) (da, db *Tensor)) *Tensor {
	op := operationNames[o]
	if !g.ok(op.name, a, b) || !g.check(a.dtype.Float() && a.dtype == b.dtype, op.name, "%v %s %v: want one float type", a, op.sign, b) {
		return g.badLike(a)
	}
	shape, ok := broadcast(a.shape, b.shape)
	if !g.check(ok, op.name, "%v %s %v: dimensions differ that are not 1", a, op.sign, b) ||
		!g.check(collapses(rowDims(shape), a.repeated(shape).groups(), b.repeated(shape).groups()), op.name, "%v %s %v: repeated along too many dimensions apart", a, op.sign, b) {
		return g.badLike(a)
	}
	y := g.combined(o, a, b, nil)
	g.record(op.name, y, func(dy *Tensor) {
		da, db := back(dy)
		g.addGradSum(op.name, a, da)
		g.addGradSum(op.name, b, db)
	}, a, b)
	return y
}

// combined returns a op b in a new tensor; c, of its shape, is the third operand
// of the gradient of a quotient.
func (g *Graph) combined(o uint32, a, b, c *Tensor) *Tensor {
	shape, _ := broadcast(a.shape, b.shape)
	y := g.New(a.dtype, shape...)
	if g.err == nil {
		g.add(operationNames[o].name, g.binaryCall(o, a, b, c, y))
	}
	return y
}

// spread is where a row of an operand that is broadcast begins, see kernel binary.
type spread struct {
	Rows   [4]uint32
	Column uint32
}

// binaryPush is the push block of kernel binary.
type binaryPush struct {
	N4, Stride4, D, N1, N2, N3 uint32
	A, B                       spread
}

func (g *Graph) binaryCall(o uint32, a, b, c, y *Tensor) Call {
	n, dims, strides := collapse(rowDims(y.shape), a.repeated(y.shape).groups(), b.repeated(y.shape).groups())
	push := binaryPush{uint32(y.len4()), uint32(y.stride4()), uint32(y.cols()), dims[1], dims[2], dims[3],
		spread{strides[0], b2u(a.cols() == y.cols())}, spread{strides[1], b2u(b.cols() == y.cols())}}
	spreadA, spreadB := a.Len() != y.Len(), b.Len() != y.Len()
	padded := y.cols()%4 != 0 && (o >= shaders.Divide || a.cols() != y.cols() || b.cols() != y.cols())
	call := Call{Kernel: "binary." + y.dtype.String(), Items: y.len4(), Push: push,
		Spec: map[uint32]uint32{shaders.SpecOperation: o, shaders.SpecDims: n, shaders.SpecPadded: b2u(padded), shaders.SpecXSpread: b2u(spreadA), shaders.SpecYSpread: b2u(spreadB)}}
	call.Args = []*Tensor{a, b, cmp.Or(c, a), y} // without c the kernel does not read its argument
	// y may take the memory of an operand that is not repeated, unless one that is lies
	// there too: that is read again after parts of y have been written.
	for i, t := range call.Args[:3] {
		if t.Len() == y.Len() && !(spreadA && a.mem == t.mem) && !(spreadB && b.mem == t.mem) {
			call.TakeOver = [2]int{3, i}
			break
		}
	}
	return call
}

// broadcast returns the shape of what two shapes are broadcast to.
func broadcast(a, b []int) (shape []int, ok bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	shape = slices.Clone(a)
	for i, d := range b {
		switch at := len(a) - len(b) + i; {
		case shape[at] == 1:
			shape[at] = d
		case d != 1 && d != shape[at]:
			return nil, false
		}
	}
	return shape, true
}

// rowDims returns the dimensions before the last.
func rowDims(shape []int) []int { return shape[:max(len(shape)-1, 0)] }

// collapse joins neighboring dimensions that each of the lists of strides goes
// through in one stride, leaves out those of 1, and returns the n that are left, or
// one, with ones in front of them. There must be no more than four; see collapses.
func collapse(dims []int, strides ...[]int) (n uint32, four [4]uint32, of [][4]uint32) {
	joined, lists := join(dims, strides...)
	four, of = [4]uint32{1, 1, 1, 1}, make([][4]uint32, len(lists))
	for i, d := range joined {
		at := 4 - len(joined) + i
		four[at] = uint32(d)
		for j, list := range lists {
			of[j][at] = uint32(list[i])
		}
	}
	return uint32(max(len(joined), 1)), four, of
}

// collapses reports whether collapse leaves at most four dimensions.
func collapses(dims []int, strides ...[]int) bool {
	joined, _ := join(dims, strides...)
	return len(joined) <= 4
}

func join(dims []int, strides ...[]int) (joined []int, lists [][]int) {
	lists = make([][]int, len(strides))
	for i, d := range dims {
		if d == 1 {
			continue
		}
		last, one := len(joined)-1, len(joined) > 0
		for j, s := range strides {
			one = one && lists[j][last] == s[i]*d
		}
		if one {
			joined[last] *= d
		} else {
			joined = append(joined, d)
		}
		for j, s := range strides {
			if one {
				lists[j][last] = s[i]
			} else {
				lists[j] = append(lists[j], s[i])
			}
		}
	}
	return joined, lists
}
