package ops

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// RMSNorm returns x, each row scaled to a mean square of 1, times weight, or as it
// then is where weight is nil:
//
//	y[n, d] = x[n, d] · weight[d] · s[n],  s[n] = 1/sqrt(mean over d of x[n, d]² + eps)
//
// x (…, D), weight (D), both of one float type. With u = d y · weight:
//
//	d x[n, d] = s[n] · (u[n, d] − x[n, d] · s[n]² · mean over d of u[n, d]·x[n, d])
//	d weight[d] = Σ over n of d y[n, d] · x[n, d] · s[n]
//
// d weight is summed in f32, in an order that the shape and the device fix.
func (g *Graph) RMSNorm(x, weight *Tensor, eps float64) *Tensor {
	const op = "rms norm"
	params, weightOrAny, spec := []*Tensor{weight}, weight, map[uint32]uint32(nil)
	if weight == nil {
		params, weightOrAny, spec = nil, x, map[uint32]uint32{shaders.SpecWeighted: 0}
	}
	if !g.ok(op, append([]*Tensor{x}, params...)...) || !g.checkNorm(op, x, eps, params...) {
		return g.badLike(x)
	}
	y := g.New(x.dtype, x.shape...)
	call := g.rowBlocks(x, g.tune.normKeep4, g.tune.normRows).call("rmsnorm", x, eps, spec, x, weightOrAny, y)
	call.TakeOver = [2]int{2, 0}
	g.add(op, call)
	g.record(op, y, func(dy *Tensor) {
		g.normBackward(op, "rmsnorm_back", g.rowBlocks(x, g.tune.normKeep4, rowsPerBlock), x, dy, eps, spec, weight)
	}, append(params, x)...)
	return y
}

// LayerNorm returns x, each row shifted and scaled to a mean of 0 and a variance
// of 1, times weight, plus bias unless that is nil:
//
//	y[n, d] = z[n, d] · weight[d] + bias[d],  z[n, d] = (x[n, d] − mean[n]) · s[n],  s[n] = 1/sqrt(variance[n] + eps)
//
// x (…, D), weight (D), bias (D), of one float type; the variance is the mean of
// the squared differences. With u = d y · weight and means over d:
//
//	d x[n, d] = s[n] · (u[n, d] − mean of u[n] − z[n, d] · mean of u[n]·z[n])
//	d weight[d] = Σ over n of d y[n, d] · z[n, d],  d bias[d] = Σ over n of d y[n, d]
//
// A mean far from 0 costs no accuracy. Sums are as in [Graph.RMSNorm].
func (g *Graph) LayerNorm(x, weight, bias *Tensor, eps float64) *Tensor {
	const op = "layer norm"
	params, biasOrAny := []*Tensor{weight, bias}, bias
	if bias == nil {
		params, biasOrAny = params[:1], weight
	}
	if !g.ok(op, append([]*Tensor{x}, params...)...) || !g.checkNorm(op, x, eps, params...) {
		return g.badLike(x)
	}
	y := g.New(x.dtype, x.shape...)
	call := g.rowBlocks(x, g.tune.normKeep4, g.tune.normRows).call("layernorm", x, eps, map[uint32]uint32{shaders.SpecBias: b2u(bias != nil)}, x, weight, biasOrAny, y)
	call.TakeOver = [2]int{3, 0}
	g.add(op, call)
	g.record(op, y, func(dy *Tensor) {
		g.normBackward(op, "layernorm_back", g.rowBlocks(x, g.tune.layerNormBackKeep4, rowsPerBlock), x, dy, eps, nil, weight, bias)
	}, append(params, x)...)
	return y
}

// checkNorm checks what the norms take: rows of a float type, parameters of the
// same type with a value for each column, and an eps that is a number.
func (g *Graph) checkNorm(op string, x *Tensor, eps float64, params ...*Tensor) bool {
	if !g.check(x.dtype.Float() && len(x.shape) > 0, op, "%v: want a float type and a dimension", x) {
		return false
	}
	for _, p := range params {
		if !g.check(p.dtype == x.dtype && len(p.shape) == 1 && p.cols() == x.cols(), op,
			"%v with %v: want one float type and a value for each column", x, p) {
			return false
		}
	}
	return g.check(eps >= 0 && float32(eps) <= math.MaxFloat32, op, "eps is %v, want a finite number of at least 0", eps)
}

// normBackward appends the backward kernel of a norm, and the sums of what each
// of its blocks leaves for params: the weight, then others, or nil.
func (g *Graph) normBackward(op, kernel string, rows rowBlocks, x, dy *Tensor, eps float64, constants map[uint32]uint32, params ...*Tensor) {
	outs := make([]*Tensor, 1+len(params)) // gradients of x and params; nil when nobody wants it
	base, add := dy, false
	if g.wants(x) {
		var sum *Tensor
		if sum, outs[0] = g.gradSum(x); sum != nil {
			base, add = sum, true
		}
	}
	sums := g.blockSums(rows.blocks, x.cols(), params)
	copy(outs[1:], sums)
	args, spec := []*Tensor{x, cmp.Or(params[0], x), dy, base}, map[uint32]uint32{shaders.SpecAdd: b2u(add), shaders.SpecWant: 0}
	maps.Copy(spec, constants)
	some := outs[slices.IndexFunc(outs, func(t *Tensor) bool { return t != nil })]
	for i, t := range outs {
		if t != nil {
			spec[shaders.SpecWant] |= 1 << i
		} else {
			t = some // each binding needs a tensor; through this one nothing is written
		}
		args = append(args, t)
	}
	call := rows.call(kernel, x, eps, spec, args...)
	if outs[0] != nil {
		call.TakeOver = [2]int{4, 3}
	}
	g.add(op+" backward", call)
	g.sumBlocks(sums, params)
}

// blockSums returns what the blocks of a norm leave for each of params, f32 (blocks, D), nil
// where nobody wants it: one behind the other if a device can bind them there.
func (g *Graph) blockSums(blocks, cols int, params []*Tensor) []*Tensor {
	wanted := func(p *Tensor) bool { return p != nil && g.wants(p) }
	if len(params) == 2 && wanted(params[0]) && wanted(params[1]) {
		both := g.New(F32, 2*blocks, cols)
		if half := both.Bytes() / 2; half%int64(g.dev.Info().Caps.StorageAlign) == 0 {
			return []*Tensor{both.view(0, blocks, cols), both.view(half, blocks, cols)}
		}
	}
	sums := make([]*Tensor, len(params))
	for i, p := range params {
		if wanted(p) {
			sums[i] = g.New(F32, blocks, cols)
		}
	}
	return sums
}

// sumBlocks adds up the sums of blocks, those of a weight and of its bias together if their
// gradients lie one behind the other.
func (g *Graph) sumBlocks(sums, params []*Tensor) {
	dst, add := make([]*Tensor, len(params)), make([]bool, len(params))
	for i, p := range params {
		if sums[i] != nil {
			dst[i], add[i] = g.grad(p)
		}
	}
	if len(sums) == 2 && add[0] == add[1] && sums[0].precedes(sums[1]) && dst[0].precedes(dst[1]) {
		d := sums[0].cols()
		g.add("column sum", g.columnSumCalls(sums[0].view(0, 2*sums[0].rows(), d), 2, dst[0].view(0, 2, d), add[0])...)
		return
	}
	for i, t := range sums {
		if t != nil {
			g.columnSum(t, dst[i], add[i])
		}
	}
}

// precedes reports whether b begins where a ends, in the same memory.
func (a *Tensor) precedes(b *Tensor) bool {
	return a != nil && b != nil && a.mem == b.mem && a.offset+a.Bytes() == b.offset
}

// gradSum returns where a kernel that adds one tensor to another puts the
// gradient of x, and the gradient so far that it must add, nil if there is none.
// The two are the same tensor when x is a parameter.
func (g *Graph) gradSum(x *Tensor) (sum, dx *Tensor) {
	if x.trained() {
		dx, add := g.grad(x)
		if add {
			sum = dx
		}
		return sum, dx
	}
	sum, dx = g.grads[x], g.New(x.dtype, x.shape...)
	g.grads[x], g.unshared[x] = dx, true
	return sum, dx
}
