package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// elementwise is a call over groups of four values.
func (g *Graph) elementwise(kernel, variant string, like *Tensor, args ...*Tensor) Call {
	n := like.len4()
	return Call{Kernel: kernel + "." + variant, Items: n, Push: struct{ N4 uint32 }{uint32(n)}, Args: args}
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

// Scale returns s·x. d x = s·d y.
func (g *Graph) Scale(x *Tensor, s float32) *Tensor {
	if !g.ok("scale", x) || !g.check(x.dtype.Float(), "scale", "%v: want a float type", x) ||
		!g.check(!math.IsNaN(float64(s)) && !math.IsInf(float64(s), 0), "scale", "factor is %v", s) {
		return g.badLike(x)
	}
	y := g.scaled(x, s)
	g.record("scale", y, func(dy *Tensor) { g.addGrad(x, g.scaled(dy, s)) }, x)
	return y
}

// scaled returns s·x in a new tensor.
func (g *Graph) scaled(x *Tensor, s float32) *Tensor {
	y := g.New(x.dtype, x.shape...)
	c := g.elementwise("scale", x.dtype.String(), x, x, y)
	c.Push = struct {
		N4 uint32
		S  float32
	}{uint32(x.len4()), s}
	g.add("scale", c)
	return y
}

// Cast returns x stored as dt, rounded to nearest even. d x = d y, cast back.
func (g *Graph) Cast(x *Tensor, dt DType) *Tensor {
	if !g.ok("cast", x) || !g.check(x.dtype.Float() && dt.Float(), "cast", "%v to %s: want float types", x, dt) {
		return g.badLike(x)
	}
	if x.dtype == dt {
		return x
	}
	y := g.castTo(x, dt)
	g.record("cast", y, func(dy *Tensor) { g.addGrad(x, g.castTo(dy, x.dtype)) }, x)
	return y
}

// castTo is Cast without the gradient.
func (g *Graph) castTo(x *Tensor, dt DType) *Tensor {
	if x.dtype == dt {
		return x
	}
	y := g.New(dt, x.shape...)
	g.add("cast", g.castCall(x, y))
	return y
}

// Fill sets every value of t, a tensor of any type, to v; for an integer type v
// must be one of its values.
func (g *Graph) Fill(t *Tensor, v float32) {
	if !g.ok("fill", t) || !g.check(t.dtype.Float() || t.dtype.holds(v), "fill", "%v with %v: no value of that type", t, v) {
		return
	}
	bits, variant := f32bits(v), "f32"
	switch t.dtype {
	case F16, BF16:
		bits, variant = uint32(t.dtype.Bits(v)), "b16"
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
		g.add("add to", g.binaryCall(shaders.Add, x, y, nil, y))
		return
	}
	g.add("add to", g.elementwise("addto", fmt.Sprintf("%s_%s", x.dtype, y.dtype), x, x, y))
}
