package ops

import "slices"

// SiLU returns x·σ(x) with σ(x) = 1/(1+e⁻ˣ), of x's type and shape.
//
//	d x = σ(x)·(1 + x·(1−σ(x))) · d y
func (g *Graph) SiLU(x *Tensor) *Tensor { return g.activation("silu", x) }

// GELU returns x·Φ(x) with Φ the normal distribution, (1 + erf(x/√2))/2.
//
//	d x = (Φ(x) + x·e^(−x²/2)/√(2π)) · d y
func (g *Graph) GELU(x *Tensor) *Tensor { return g.activation("gelu", x) }

// GELUTanh returns x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, GPT-2's approximation
// of GELU.
func (g *Graph) GELUTanh(x *Tensor) *Tensor { return g.activation("gelu_tanh", x) }

// activation is y = f(x) for a function of lib/activations.glsl.
func (g *Graph) activation(f string, x *Tensor) *Tensor {
	if !g.ok(f, x) || !g.check(x.dtype.Float(), f, "%v: want a float type", x) {
		return g.badLike(x)
	}
	variant := f + "_" + x.dtype.String()
	y := g.New(x.dtype, x.shape...)
	c := g.elementwise("activation", variant, x, x, y)
	c.TakeOver = [2]int{1, 0}
	g.add(f, c)
	g.record(f, y, func(dy *Tensor) {
		g.overwriteGrads(f+" backward", func(dx ...*Tensor) Call {
			c := g.elementwise("activation_back", variant, x, x, dy, dx[0])
			c.TakeOver = [2]int{2, 1}
			return c
		}, x)
	}, x)
	return y
}

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
	c := g.elementwise(op, gate.dtype.String(), gate, gate, up, y)
	c.TakeOver = [2]int{2, 0}
	g.add(op, c)
	g.record(op, y, func(dy *Tensor) {
		g.overwriteGrads(op+" backward", func(dx ...*Tensor) Call {
			c := g.elementwise("swiglu_back", gate.dtype.String(), gate, gate, up, dy, dx[0], dx[1])
			c.TakeOver = [2]int{3, 2}
			return c
		}, gate, up)
	}, gate, up)
	return y
}
