package ops

import (
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// Slice returns the part of x from lo to hi, hi not included, along a dimension
// (0 is the first), in memory of its own. The gradient goes to that part of x's.
func (g *Graph) Slice(x *Tensor, dim, lo, hi int) *Tensor {
	const op = "slice"
	if !g.ok(op, x) || !g.check(x.dtype.Float() && 0 <= dim && dim < len(x.shape), op, "%v along dimension %d: want a float type and one of its dimensions", x, dim) ||
		!g.check(0 <= lo && lo < hi && hi <= x.shape[dim], op, "%d to %d of dimension %d of %v", lo, hi, dim, x) {
		return g.badLike(x)
	}
	shape := slices.Clone(x.shape)
	shape[dim] = hi - lo
	y := g.New(x.dtype, shape...)
	part := x.strides().from(dim, lo)
	g.copyStrided(op, x, part, y, y.strides(), shape, false)
	g.record(op, y, func(dy *Tensor) { g.addToPart(op, dy, x, part) }, x)
	return y
}

// addToPart adds dy, the gradient of a part of x, to that of x.
func (g *Graph) addToPart(op string, dy, x *Tensor, part strides) {
	if !g.wants(x) {
		return
	}
	dx, add := g.grad(x)
	if !add {
		g.Fill(dx, 0)
	}
	g.copyStrided(op, dy, dy.strides(), dx, part, dy.shape, true)
}

// Concat returns xs one after the other along a dimension (0 is the first); their
// other dimensions and float types are the same. Each gets its part of d y.
func (g *Graph) Concat(dim int, xs ...*Tensor) *Tensor {
	const op = "concat"
	if !g.ok(op, xs...) || !g.check(len(xs) > 0, op, "no tensors") {
		return g.bad(F32)
	}
	shape := slices.Clone(xs[0].shape)
	if !g.check(xs[0].dtype.Float() && 0 <= dim && dim < len(shape), op, "%v along dimension %d: want a float type and one of its dimensions", xs[0], dim) {
		return g.badLike(xs[0])
	}
	for _, x := range xs[1:] {
		same := x.dtype == xs[0].dtype && len(x.shape) == len(shape)
		for i := range shape {
			same = same && (i == dim || x.shape[i] == shape[i])
		}
		if !g.check(same, op, "%v and %v along dimension %d: want one type, and other dimensions the same", xs[0], x, dim) {
			return g.badLike(xs[0])
		}
		shape[dim] += x.shape[dim]
	}
	y := g.New(xs[0].dtype, shape...)
	at := make([]int, len(xs))
	for i, x := range xs {
		if i > 0 {
			at[i] = at[i-1] + xs[i-1].shape[dim]
		}
		g.copyStrided(op, x, x.strides(), y, y.strides().from(dim, at[i]), x.shape, false)
	}
	g.record(op, y, func(dy *Tensor) {
		for i, x := range xs {
			g.moveGrad(op, dy, dy.strides().from(dim, at[i]), x)
		}
	}, xs...)
	return y
}

// moveGrad gives x its share of the gradient: what lies in dy at from.
func (g *Graph) moveGrad(op string, dy *Tensor, from strides, x *Tensor) {
	if g.wants(x) {
		dx, add := g.grad(x)
		g.copyStrided(op, dy, from, dx, dx.strides(), x.shape, add)
	}
}

// Transpose returns x with two of its dimensions (0 is the first) exchanged. d x is
// d y with the same ones exchanged.
func (g *Graph) Transpose(x *Tensor, a, b int) *Tensor {
	const op = "transpose"
	valid := func(d int) bool { return 0 <= d && d < len(x.shape) }
	if !g.ok(op, x) || !g.check(x.dtype.Float() && valid(a) && valid(b), op, "dimensions %d and %d of %v: want a float type and two of its dimensions", a, b, x) {
		return g.badLike(x)
	}
	shape := slices.Clone(x.shape)
	shape[a], shape[b] = shape[b], shape[a]
	y := g.New(x.dtype, shape...)
	g.copyStrided(op, x, x.strides().exchanged(a, b), y, y.strides(), shape, false)
	g.record(op, y, func(dy *Tensor) { g.moveGrad(op, dy, dy.strides().exchanged(a, b), x) }, x)
	return y
}

// Expand returns x broadcast to a shape, as [Graph.Add] would, in memory of its
// own. d x is d y summed over what was repeated.
func (g *Graph) Expand(x *Tensor, shape ...int) *Tensor {
	const op = "expand"
	if !g.ok(op, x) || !g.check(x.dtype.Float(), op, "%v: want a float type", x) {
		return g.bad(F32, shape...)
	}
	full, ok := broadcast(x.shape, shape)
	if !g.check(ok && slices.Equal(full, shape), op, "%v to %v: dimensions differ that are not 1", x, shape) {
		return g.bad(x.dtype, shape...)
	}
	y := g.expanded(op, x, shape)
	g.record(op, y, func(dy *Tensor) { g.addGradSum(op, x, dy) }, x)
	return y
}

// expanded is Expand without the gradient.
func (g *Graph) expanded(op string, x *Tensor, shape []int) *Tensor {
	y := g.New(x.dtype, shape...)
	g.copyStrided(op, x, x.repeated(shape), y, y.strides(), shape, false)
	return y
}

// Rows returns rows lo to hi of x's first dimension, sharing its memory. Where
// they start must suit the device's binding alignment, or it is an error that
// says so (see [Graph.Slice]); a part of an integer tensor that ends before x does
// must have a multiple of four values, a float tensor at least two dimensions. The
// gradient goes to that part of x's.
func (g *Graph) Rows(x *Tensor, lo, hi int) *Tensor {
	const op = "rows"
	if !g.ok(op, x) || !g.check(len(x.shape) > 0 && 0 <= lo && lo < hi && hi <= x.shape[0], op, "%d to %d of %v", lo, hi, x) {
		return g.badLike(x)
	}
	y := g.rows(x, lo, hi)
	if x.dtype.Float() {
		g.record(op, y, func(dy *Tensor) { g.addToPart(op, dy, x, x.strides().from(0, lo)) }, x)
	}
	return y
}

// rows is Rows for operations that see to the gradient themselves.
func (g *Graph) rows(x *Tensor, lo, hi int) *Tensor {
	shape := append([]int{hi - lo}, x.shape[1:]...)
	start := int64(lo) * int64(product(x.shape[1:])) * int64(x.dtype.Size())
	if x.dtype.Float() {
		start = x.Bytes() / int64(x.shape[0]) * int64(lo)
	}
	align := int64(g.dev.Info().Caps.StorageAlign)
	if !g.check(!x.dtype.Float() || len(x.shape) > 1, "rows", "%v is a single row", x) ||
		!g.check((x.offset+start)%align == 0, "rows", "row %d of %v starts at byte %d, the device binds multiples of %d", lo, x, start, align) ||
		!g.check(x.dtype.Float() || hi == x.shape[0] || product(shape)%4 == 0, "rows", "%d to %d of %v: %d values end within a group of four", lo, hi, x, product(shape)) {
		return g.bad(x.dtype, shape...)
	}
	return x.view(start, shape...)
}

// strides says where the values of a box lie in a tensor, in values, padding
// included: at first + Σ index·dims over its dimensions.
type strides struct {
	first int
	dims  []int
}

// strides are those of t itself.
func (t *Tensor) strides() strides {
	s := strides{dims: make([]int, len(t.shape))}
	step := 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		s.dims[i] = step
		if i == len(t.shape)-1 {
			step = 4 * t.stride4()
		} else {
			step *= t.shape[i]
		}
	}
	return s
}

// repeated are those of a shape that t is broadcast to: 0 along what is repeated.
func (t *Tensor) repeated(shape []int) strides {
	own, s := t.strides(), strides{dims: make([]int, len(shape))}
	for i, d := range t.shape {
		if d > 1 {
			s.dims[len(shape)-len(t.shape)+i] = own.dims[i]
		}
	}
	return s
}

// groups are the strides of whole rows, in groups of four values.
func (s strides) groups() []int {
	rows := slices.Clone(rowDims(s.dims))
	for i := range rows {
		rows[i] /= 4
	}
	return rows
}

// from is a box that begins at index lo of a dimension.
func (s strides) from(dim, lo int) strides { return strides{s.first + lo*s.dims[dim], s.dims} }

func (s strides) exchanged(a, b int) strides {
	dims := slices.Clone(s.dims)
	dims[a], dims[b] = dims[b], dims[a]
	return strides{s.first, dims}
}

// stridesPush is a Strides of kernel copy_strided.
type stridesPush struct {
	First  uint32
	Rows   [4]uint32
	Column uint32
}

// copyStrided copies a box of a shape, which lies in x at from, to y at to, or adds
// it to what is there. Rows of the box are parts of rows of y.
func (g *Graph) copyStrided(op string, x *Tensor, from strides, y *Tensor, to strides, shape []int, add bool) {
	if len(shape) == 0 { // a scalar is a row of one
		shape, from.dims, to.dims = []int{1}, []int{1}, []int{1}
	}
	last := len(shape) - 1
	if rows := rowDims(shape); g.err != nil || !g.check(collapses(rows, from.dims[:last], to.groups()), op, "%v: too many dimensions apart", shape) {
		return
	}
	n, dims, rows := collapse(shape[:last], from.dims[:last], to.groups())
	d, column := shape[last], to.first%(4*y.stride4())
	push := struct {
		N, Groups, D, N1, N2, N3 uint32
		X, Y                     stridesPush
	}{D: uint32(d), N1: dims[1], N2: dims[2], N3: dims[3],
		X: stridesPush{uint32(from.first), rows[0], uint32(from.dims[last])},
		Y: stridesPush{uint32(to.first-column) / 4, rows[1], uint32(column)}}
	push.Groups = uint32((column+d-1)/4 - column/4 + 1)
	push.N = push.Groups * uint32(product(shape[:last]))
	whole := column%4 == 0 && from.first%4 == 0
	for _, s := range rows[0][:3] {
		whole = whole && s%4 == 0
	}
	aligned := whole && from.dims[last] == 1 && rows[0][3]%4 == 0
	turned := whole && from.dims[last]%4 == 0 && rows[0][3] == 1 && column == 0
	if turned {
		push.N = push.N / push.Groups / dims[3] * uint32(32*ceilDiv(int(push.Groups), 8)*ceilDiv(int(dims[3]), 16))
	}
	g.add(op, Call{Kernel: "copy_strided." + y.dtype.String(), Items: int(push.N), Push: push,
		Spec: map[uint32]uint32{shaders.SpecDims: n, shaders.SpecAdd: b2u(add), shaders.SpecAligned: b2u(aligned), shaders.SpecTurned: b2u(turned)}, Args: []*Tensor{x, y}})
}
