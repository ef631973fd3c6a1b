package ops

import (
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// functionNames are what errors call the functions of lib/functions.glsl.
var functionNames = [...]string{shaders.Silu: "silu", shaders.Gelu: "gelu", shaders.GeluTanh: "gelu_tanh", shaders.Relu: "relu",
	shaders.ReluSquared: "relu squared", shaders.Sigmoid: "sigmoid", shaders.Tanh: "tanh", shaders.Exp: "exp", shaders.Log: "log"}

// SiLU returns x·σ(x) with σ(x) = 1/(1+e⁻ˣ), of x's type and shape.
//
//	d x = σ(x)·(1 + x·(1−σ(x))) · d y
func (g *Graph) SiLU(x *Tensor) *Tensor { return g.unary(shaders.Silu, x) }

// GELU returns x·Φ(x) with Φ the normal distribution, (1 + erf(x/√2))/2.
//
//	d x = (Φ(x) + x·e^(−x²/2)/√(2π)) · d y
func (g *Graph) GELU(x *Tensor) *Tensor { return g.unary(shaders.Gelu, x) }

// GELUTanh returns x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, GPT-2's approximation
// of GELU.
func (g *Graph) GELUTanh(x *Tensor) *Tensor { return g.unary(shaders.GeluTanh, x) }

// ReLU returns max(x, 0). d x = d y where x > 0, else 0.
func (g *Graph) ReLU(x *Tensor) *Tensor { return g.unary(shaders.Relu, x) }

// ReLUSquared returns max(x, 0)² (So et al. 2021). d x = 2·max(x, 0) · d y.
func (g *Graph) ReLUSquared(x *Tensor) *Tensor { return g.unary(shaders.ReluSquared, x) }

// Sigmoid returns σ(x) = 1/(1+e⁻ˣ). d x = σ(x)·(1−σ(x)) · d y.
func (g *Graph) Sigmoid(x *Tensor) *Tensor { return g.unary(shaders.Sigmoid, x) }

// Tanh returns tanh(x). d x = (1 − tanh(x)²) · d y.
func (g *Graph) Tanh(x *Tensor) *Tensor { return g.unary(shaders.Tanh, x) }

// Exp returns eˣ, 0 for x below −87. d x = eˣ · d y.
func (g *Graph) Exp(x *Tensor) *Tensor { return g.unary(shaders.Exp, x) }

// Log returns the natural logarithm of x: −∞ of 0, NaN of negative values.
// d x = d y / x.
func (g *Graph) Log(x *Tensor) *Tensor { return g.unary(shaders.Log, x) }

// unary is y = f(x), f a FUNCTION of lib/functions.glsl. Backward computes what it needs of f again from x.
func (g *Graph) unary(f uint32, x *Tensor) *Tensor {
	op := functionNames[f]
	if !g.ok(op, x) || !g.check(x.dtype.Float(), op, "%v: want a float type", x) {
		return g.badLike(x)
	}
	call := func(kernel string, padded bool, args ...*Tensor) Call {
		return Call{Kernel: kernel + "." + x.dtype.String(), Items: x.len4(),
			Spec: map[uint32]uint32{shaders.SpecFunction: f, shaders.SpecPadded: b2u(padded && x.cols()%4 != 0)},
			Push: unaryPush{uint32(x.len4()), uint32(x.stride4()), uint32(x.cols())},
			Args: args, TakeOver: [2]int{len(args) - 1, len(args) - 2}}
	}
	y := g.New(x.dtype, x.shape...)
	g.add(op, call("unary", f == shaders.Sigmoid || f == shaders.Exp || f == shaders.Log, x, y))
	g.record(op, y, func(dy *Tensor) {
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call { return call("unary_back", f == shaders.Log, x, dy, dx[0]) }, x)
	}, x)
	return y
}

// unaryPush is the push block of kernels unary and unary_back.
type unaryPush struct{ N4, Stride4, D uint32 }

// SwiGLU returns silu(gate)·up, of the same type and shape. Backward computes
// silu(gate) again instead of keeping it.
//
//	d gate = silu'(gate)·up · d y
//	d up   = silu(gate) · d y
func (g *Graph) SwiGLU(gate, up *Tensor) *Tensor {
	const op = "swiglu"
	if !g.ok(op, gate, up) || !g.check(gate.dtype.Float() && gate.dtype == up.dtype && slices.Equal(gate.shape, up.shape), op,
		"gate %v, up %v: want the same float type and shape", gate, up) {
		return g.badLike(gate)
	}
	y := g.New(gate.dtype, gate.shape...)
	c := g.swigluCall("swiglu", y, 0, gate, up, y)
	c.TakeOver = [2]int{2, 0}
	g.add(op, c)
	g.record(op, y, func(dy *Tensor) {
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call {
			c := g.swigluCall("swiglu_back", dy, 0, gate, up, dy, dx[0], dx[1])
			c.TakeOver = [2]int{3, 2}
			return c
		}, gate, up)
	}, gate, up)
	return y
}

// SwiGLUPacked is [Graph.SwiGLU] of gate and up in one tensor, as one product makes both:
// x is (…, 2F), F a multiple of 4, of each row the values of gate and then those of up.
func (g *Graph) SwiGLUPacked(x *Tensor) *Tensor {
	const op = "swiglu"
	if !g.ok(op, x) || !g.check(x.dtype.Float() && x.cols()%8 == 0, op, "%v: want a float type and a multiple of 8 columns, half of them gate's", x) {
		return g.badLike(x)
	}
	shape := slices.Clone(x.shape)
	shape[len(shape)-1] /= 2
	y := g.New(x.dtype, shape...)
	g.add(op, g.swigluCall("swiglu", y, y.stride4(), x, x, y))
	g.record(op, y, func(dy *Tensor) {
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call {
			c := g.swigluCall("swiglu_back", dy, y.stride4(), x, x, dy, dx[0], dx[0])
			c.TakeOver = [2]int{3, 0}
			return c
		}, x)
	}, x)
	return y
}

// swigluCall is a call over y's groups of four; row4 is how many of gate stand before those
// of up, 0 where they are tensors of their own.
func (g *Graph) swigluCall(kernel string, y *Tensor, row4 int, args ...*Tensor) Call {
	c := g.elementwise(kernel, y.dtype.String(), y, args...)
	c.Push = swigluPush{uint32(y.len4()), uint32(row4)}
	c.Spec = map[uint32]uint32{shaders.SpecPacked: b2u(row4 > 0)}
	return c
}

// swigluPush is the push block of kernels swiglu and swiglu_back.
type swigluPush struct{ N4, Row4 uint32 }
