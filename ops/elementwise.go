package ops

import (
	"fmt"
	"math"
	"slices"
)

// elementwise is a call over groups of four values.
func (g *Graph) elementwise(kernel, variant string, like *Tensor, args ...*Tensor) Call {
	n := like.len4()
	return Call{Kernel: kernel + "." + variant, Items: n, Push: struct{ N4 uint32 }{uint32(n)}, Args: args}
}

// addCall is z = x + y.
func (g *Graph) addCall(x, y, z *Tensor) Call {
	return g.elementwise("add", x.dtype.String(), x, x, y, z)
}

// castCall is y = x, of one shape and different float types.
func (g *Graph) castCall(x, y *Tensor) Call {
	return g.elementwise("cast", fmt.Sprintf("%s_%s", x.dtype, y.dtype), x, x, y)
}

// copyCall copies x to y, of the same type and shape.
func (g *Graph) copyCall(x, y *Tensor) Call {
	n := int(x.Bytes() / 16)
	if x.Bytes()%16 != 0 { // a 16-bit tensor with an odd number of groups
		return Call{Kernel: "scale." + x.dtype.String(), Items: x.len4(), Push: struct {
			N4 uint32
			S  float32
		}{uint32(x.len4()), 1}, Args: []*Tensor{x, y}}
	}
	return Call{Kernel: "copy", Items: n, Push: struct{ N4 uint32 }{uint32(n)}, Args: []*Tensor{x, y}}
}

// Add returns a + b, of the same type and shape. d a = d b = d y.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	if !g.ok("add", a, b) || !g.check(a.dtype.Float() && a.dtype == b.dtype && slices.Equal(a.shape, b.shape), "add", "%v + %v: want the same float type and shape", a, b) {
		return g.badLike(a)
	}
	y := g.New(a.dtype, a.shape...)
	g.add("add", g.addCall(a, b, y))
	g.record("add", y, func(dy *Tensor) {
		g.addGrad(a, dy)
		g.addGrad(b, dy)
	}, a, b)
	return y
}

// Scale returns s·x. d x = s·d y.
func (g *Graph) Scale(x *Tensor, s float32) *Tensor {
	if !g.ok("scale", x) || !g.check(x.dtype.Float(), "scale", "%v: want a float type", x) ||
		!g.check(!math.IsNaN(float64(s)) && !math.IsInf(float64(s), 0), "scale", "factor is %v", s) {
		return g.badLike(x)
	}
	scaled := func(x *Tensor) *Tensor {
		y := g.New(x.dtype, x.shape...)
		c := g.elementwise("scale", x.dtype.String(), x, x, y)
		c.Push = struct {
			N4 uint32
			S  float32
		}{uint32(x.len4()), s}
		g.add("scale", c)
		return y
	}
	y := scaled(x)
	g.record("scale", y, func(dy *Tensor) { g.addGrad(x, scaled(dy)) }, x)
	return y
}

// Divide returns a/b of two f32 scalars, such as a sum of losses and their
// number. It is not differentiated.
func (g *Graph) Divide(a, b *Tensor) *Tensor {
	const op = "divide"
	if !g.ok(op, a, b) || !g.check(a.dtype == F32 && b.dtype == F32 && a.Len() == 1 && b.Len() == 1, op, "%v by %v: want two f32 values", a, b) {
		return g.bad(F32)
	}
	return g.meanLoss(op, a, b)
}

// Cast returns x stored as dt, rounded to nearest even. d x = d y, cast back.
func (g *Graph) Cast(x *Tensor, dt DType) *Tensor {
	if !g.ok("cast", x) || !g.check(x.dtype.Float() && dt.Float(), "cast", "%v to %s: want float types", x, dt) {
		return g.badLike(x)
	}
	if x.dtype == dt {
		return x
	}
	cast := func(x *Tensor, dt DType) *Tensor {
		y := g.New(dt, x.shape...)
		g.add("cast", g.castCall(x, y))
		return y
	}
	y := cast(x, dt)
	g.record("cast", y, func(dy *Tensor) { g.addGrad(x, cast(dy, x.dtype)) }, x)
	return y
}

// Fill sets every value of t, a tensor of any type, to v; for an integer type v
// must be one of its values.
func (g *Graph) Fill(t *Tensor, v float32) {
	if !g.ok("fill", t) || !g.check(t.dtype.Float() || t.dtype.holds(v), "fill", "%v with %v: no value of that type", t, v) {
		return
	}
	bits, variant := f32bits(v), "b32"
	switch t.dtype {
	case F16:
		bits, variant = uint32(toF16(v)), "b16"
	case BF16:
		bits, variant = uint32(toBF16(v)), "b16"
	case U16:
		bits, variant = uint32(uint16(v)), "b16"
	case I32:
		bits = uint32(int32(v))
	case U32:
		bits = uint32(v)
	}
	cols, stride := t.rowLayout()
	rows := t.len4() * 4 / stride
	g.add("fill", Call{Kernel: "fill." + variant, Items: t.len4(), Push: fillPush{
		uint32(rows), uint32(cols), uint32(stride / 4), bits}, Args: []*Tensor{t}})
}

// fillPush is the push block of kernel fill.
type fillPush struct{ Rows, Cols, Stride4, Bits uint32 }

// plainFill returns the word that a call writes over and over, if that is all it
// does: a fill of rows without padding, which Vulkan has a command for.
func (c *Call) plainFill() (word uint32, ok bool) {
	p, fill := c.Push.(fillPush)
	if !fill || p.Cols%4 != 0 {
		return 0, false
	}
	if c.Kernel == "fill.b16" {
		return p.Bits | p.Bits<<16, true
	}
	return p.Bits, true
}

// View returns the values of x under another shape. The rows of a float tensor
// are padded, so their length must stay the same unless old and new lengths are
// multiples of four. d x = d y, viewed back.
func (g *Graph) View(x *Tensor, shape ...int) *Tensor {
	if !g.ok("view", x) {
		return g.bad(F32, shape...)
	}
	y := x.view(0, shape...)
	if !g.check(product(shape) == x.Len() && !slices.ContainsFunc(shape, func(d int) bool { return d < 1 }), "view", "%v as %v: %d values as %d", x, shape, x.Len(), product(shape)) ||
		!g.check(!x.dtype.Float() || y.cols() == x.cols() || x.cols()%4 == 0 && y.cols()%4 == 0, "view",
			"%v as %v: rows of %d and %d values are padded differently", x, shape, x.cols(), y.cols()) {
		return g.bad(x.dtype, shape...)
	}
	y.name = ""
	g.record("view", y, func(dy *Tensor) { g.addGrad(x, dy.view(0, x.shape...)) }, x)
	return y
}

// Rows returns rows lo to hi of x's first dimension, sharing its memory. Where
// they start must suit the device's binding alignment, or it is an error that
// says so; a part of an integer tensor that ends before x does must have a
// multiple of four values, a float tensor at least two dimensions. The gradient
// of a part does not flow back to the whole.
func (g *Graph) Rows(x *Tensor, lo, hi int) *Tensor {
	if !g.ok("rows", x) || !g.check(len(x.shape) > 0 && 0 <= lo && lo < hi && hi <= x.shape[0], "rows", "%d to %d of %v", lo, hi, x) ||
		!g.check(!g.needs[x], "rows", "%v has a gradient, which can't flow back through a part of it", x) {
		return g.badLike(x)
	}
	return g.rows(x, lo, hi)
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

func (g *Graph) badLike(t *Tensor) *Tensor {
	if t == nil {
		return g.bad(F32)
	}
	return g.bad(t.dtype, t.shape...)
}

// CastTo writes x, converted, to y, a tensor of the same shape.
func (g *Graph) CastTo(x, y *Tensor) {
	if g.ok("cast", x, y) && g.check(x.dtype.Float() && y.dtype.Float() && slices.Equal(x.shape, y.shape), "cast", "%v to %v: want float types and one shape", x, y) {
		if x.dtype == y.dtype {
			g.add("cast", g.copyCall(x, y))
			return
		}
		g.add("cast", g.castCall(x, y))
	}
}

// AddTo adds x to y, a tensor of the same shape and of x's type or f32, which
// keeps its values from run to run when it has memory of its own: a sum over
// runs. It is not differentiated.
func (g *Graph) AddTo(x, y *Tensor) {
	if !g.ok("add to", x, y) || !g.check(x.dtype.Float() && (y.dtype == x.dtype || y.dtype == F32) && slices.Equal(x.shape, y.shape), "add to",
		"%v to %v: want one shape, and one float type or a sum in f32", x, y) {
		return
	}
	if x.dtype == y.dtype {
		g.add("add to", g.addCall(x, y, y))
		return
	}
	g.add("add to", g.elementwise("addto", fmt.Sprintf("%s_%s", x.dtype, y.dtype), x, x, y))
}
