package benchcmd

import (
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// activationCases are the functions between matrix products, and softmax.
func activationCases(c config) []benchmark {
	n := c.bytes() / 4 // f32 values
	list := []benchmark{activationCase("silu", n, (*ops.Graph).SiLU, silu), activationCase("gelu", n, (*ops.Graph).GELU, func(x float64) float64 {
		return x * math.Erfc(-x/math.Sqrt2) / 2
	})}
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		m := c.bytes() / dt.Size()
		list = append(list, swigluCase(dt, m/64, 64), dropoutCase(dt, m))
	}
	for _, v := range []int{1000, 50257} {
		list = append(list, softmaxCase(max(1, n/v), v))
	}
	return list
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

func activationCase(name string, n int, f func(g *ops.Graph, x *ops.Tensor) *ops.Tensor, want func(x float64) float64) benchmark {
	return benchmark{shape: fmt.Sprintf("f32[%d]", n), parts: []part{{name: name + " f32", kernels: "unary.", bytes: 8 * float64(n)}}, build: func(r *running) {
		r.expect(f(r.graph, r.filled(ops.F32, values{}, n)), 1e-5, func(i int) float64 { return want(values{}.at(i)) })
	}}
}

// swigluCase is silu(gate)·up of (n, d), under a cross-entropy for a gradient to
// go back: three passes over memory forward, five backward.
func swigluCase(dt ops.DType, n, d int) benchmark {
	size := float64(n * d * dt.Size())
	return benchmark{shape: fmt.Sprintf("[%d %d]", n, d), parts: []part{
		{name: "swiglu " + dt.String(), kernels: "swiglu.", bytes: 3 * size},
		{name: "swiglu_back " + dt.String(), kernels: "swiglu_back.", bytes: 5 * size},
	}, build: func(r *running) {
		gates, ups := values{}, values{}.after(n*d)
		gate, up := r.filled(dt, gates, n, d), r.filled(dt, ups, n, d)
		targets, ids := r.ids(n, d)
		r.graph.RequireGrad(gate)
		r.graph.RequireGrad(up)
		y := r.graph.SwiGLU(gate, up)
		r.graph.Backward(r.graph.CrossEntropy(y, targets, nil), nil)

		tolerance, small := 1e-5, 1e-5/float64(n)
		if dt != ops.F32 { // y is rounded, and moves its softmax
			tolerance, small = 8e-3, 4e-2/float64(n)
		}
		value := func(i int) float64 { return silu(gates.at(i)) * ups.at(i) }
		slope := func(i int) float64 { // d loss / d y[i]
			row := make([]float32, d)
			for j := range row {
				row[j] = float32(value(i/d*d + j))
			}
			p := math.Exp(value(i) - logSumExp(row))
			if i%d == int(ids[i/d]) {
				p--
			}
			return p / float64(n)
		}
		r.expect(y, tolerance, value)
		r.expect(r.graph.Grad(up), small, func(i int) float64 { return slope(i) * silu(gates.at(i)) })
		r.expect(r.graph.Grad(gate), small, func(i int) float64 {
			x := gates.at(i)
			s := 1 / (1 + math.Exp(-x))
			return slope(i) * ups.at(i) * s * (1 + x*(1-s))
		})
	}}
}

// dropoutCase drops every other value: its check is that half of them are 0 and
// the others doubled.
func dropoutCase(dt ops.DType, n int) benchmark {
	return benchmark{shape: fmt.Sprintf("[%d]", n), parts: []part{{name: "dropout " + dt.String(), kernels: "dropout", bytes: 2 * float64(n*dt.Size())}}, build: func(r *running) {
		random := r.graph.Input("random", ops.U32, 4)
		r.graph.Train(random)
		r.stage = func(*ops.Step) error { return ops.Upload(r.ctx, random, []uint32{0, 0, 1, 0}) }
		p := r.pick(r.graph.Dropout(r.filled(dt, values{}, n), 0.5), 1<<16)
		r.checks = append(r.checks, func() error {
			all, dropped := 0.0, 0.0
			err := p.each(r, func(i int, got float64) error {
				all++
				switch want := 2 * (values{}).at(i); {
				case got == 0:
					dropped++
				case got != want:
					return fmt.Errorf("value %d is %v, want 0 or %v", i, got, want)
				}
				return nil
			})
			if err == nil && !(math.Abs(dropped/all-0.5) < 0.05) {
				err = fmt.Errorf("%v of %v values are 0, want half", dropped, all)
			}
			return err
		})
	}}
}

// softmaxCase is softmax of (n, v). Two reads and one write are counted, as for
// cross-entropy.
func softmaxCase(n, v int) benchmark {
	stride := (v + 3) / 4 * 4
	return benchmark{shape: fmt.Sprintf("[%d %d]", n, v), parts: []part{{name: "softmax f32", kernels: "softmax", bytes: 12 * float64(n*stride)}}, build: func(r *running) {
		y := r.graph.Softmax(r.filled(ops.F32, values{}, n, v))
		row, lse := -1, 0.0
		r.expect(y, 1e-5/float64(v), func(i int) float64 {
			if i/v != row {
				row = i / v
				lse = logSumExp(values{}.row(row*v, v))
			}
			return math.Exp(values{}.at(i) - lse)
		})
	}}
}
