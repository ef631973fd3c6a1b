package benchcmd

import (
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// layerCases lists what stands between the matrix products of a transformer.
func layerCases(c config) []benchmark {
	d := 768
	var list []benchmark
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		rows := c.bytes() / d / dt.Size()
		positions := min(rows, 8192)
		list = append(list, normCase("rmsnorm", dt, rows, d), normCase("layernorm", dt, rows, d),
			ropeCase(dt, rows/positions, positions, 12, 64, false), ropeCase(dt, rows/positions, positions, 12, 64, true))
	}
	return list
}

// ropeCase turns b sequences of t positions of h heads of s values, not in place. The
// table of angles, one row for all heads of a position, is counted.
func ropeCase(dt ops.DType, b, t, h, s int, halfSplit bool) benchmark {
	name := "rope "
	if halfSplit {
		name = "rope half "
	}
	return benchmark{shape: fmt.Sprintf("[%d %d %d %d]", b, t, h, s), parts: []part{
		{name: name + dt.String(), kernels: "rope.", bytes: float64(2*b*t*h*s*dt.Size() + 4*t*s)},
	}, build: func(r *running) {
		y := r.graph.RoPE(r.filled(dt, values{}, b, t, h, s), &ops.RoPEOptions{HalfSplit: halfSplit})
		tolerance := 1e-5
		if dt != ops.F32 {
			tolerance = 1.0 / 128
		}
		r.expect(y, tolerance, func(i int) float64 {
			pair, other, side := i%s/2, i^1, i%2
			if halfSplit {
				pair, side = i%(s/2), i%s/(s/2)
				other = i + s/2 - side*s
			}
			sin, cos := math.Sincos(float64(i/s/h%t) * math.Pow(1e4, -2*float64(pair)/float64(s)))
			return values{}.at(i)*cos + float64(2*side-1)*values{}.at(other)*sin
		})
	}}
}

// normCase is a norm of x (n, d) and its backward pass. Counted are x and y, and
// x, dy and dx; what the sums over rows leave for each block of them is not.
func normCase(name string, dt ops.DType, n, d int) benchmark {
	size := float64(n * d * dt.Size())
	return benchmark{shape: fmt.Sprintf("[%d %d]", n, d), parts: []part{
		{name: name + " " + dt.String(), kernels: name + ".", bytes: 2 * size},
		{name: name + "_back " + dt.String(), kernels: name + "_back. columnsum.", bytes: 3 * size},
	}, build: func(r *running) {
		params := ops.NewParams(r.dev, dt)
		weight, bias := params.Add("weight", d), params.Add("bias", d)
		if err := params.Alloc(); err != nil {
			r.fail(err)
			return
		}
		r.owned = append(r.owned, params)
		r.fill(weight, values{})
		x := r.filled(dt, values{}, n, d)
		r.graph.RequireGrad(x)
		const eps = 1e-5
		var y *ops.Tensor
		if name == "rmsnorm" {
			y = r.graph.RMSNorm(x, weight, eps)
		} else {
			y = r.graph.LayerNorm(x, weight, bias, eps)
		}
		// The loss is cross-entropy, whose gradient the norm gets, over rows that long.
		targets, ids := r.ids(n, d)
		loss, _ := r.graph.CrossEntropyEach(y, targets, nil)
		r.graph.Backward(loss, nil)
		tolerance := 1e-5
		if dt != ops.F32 {
			tolerance = 1.0 / 256
		}
		ref := normReference{name == "layernorm", eps, ids, d}
		r.expect(y, tolerance, func(i int) float64 {
			z, _ := ref.normed(i / d)
			return z[i%d] * values{}.at(i%d)
		})
		// Gradients are of the size of 1/n.
		r.expect(r.graph.Grad(x), 8*tolerance/float64(n), func(i int) float64 { return ref.dx(i / d)[i%d] })
	}}
}

// normReference is normCase on the host.
type normReference struct {
	center bool
	eps    float64
	ids    []int32
	d      int
}

// normed returns a row before the weight, and what it was scaled by.
func (n normReference) normed(row int) (z []float64, scale float64) {
	x := values{}.row(row*n.d, n.d)
	mean, square := 0.0, 0.0
	for _, v := range x {
		if n.center {
			mean += float64(v) / float64(n.d)
		}
	}
	for _, v := range x {
		square += (float64(v) - mean) * (float64(v) - mean) / float64(n.d)
	}
	scale = 1 / math.Sqrt(square+n.eps)
	for _, v := range x {
		z = append(z, (float64(v)-mean)*scale)
	}
	return z, scale
}

// dx returns the gradient of a row.
func (n normReference) dx(row int) []float64 {
	z, scale := n.normed(row)
	y := make([]float32, n.d)
	for j := range y {
		y[j] = float32(z[j] * values{}.at(j))
	}
	lse, u := logSumExp(y), make([]float64, n.d) // u is dy times the weight
	mean, product := 0.0, 0.0
	for j := range u {
		u[j] = math.Exp(float64(y[j]) - lse)
		if j == int(n.ids[row]) {
			u[j]--
		}
		u[j] *= values{}.at(j) / float64(len(n.ids))
		if n.center {
			mean += u[j] / float64(n.d)
		}
		product += u[j] * z[j] / float64(n.d)
	}
	for j := range u {
		u[j] = scale * (u[j] - mean - z[j]*product)
	}
	return u
}
