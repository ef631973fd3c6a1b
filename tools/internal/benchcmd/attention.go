package benchcmd

import (
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// attentionCases lists attention as small models have it, and of 1024 to 8192 positions.
func attentionCases(c config) []benchmark {
	if c.quick {
		return []benchmark{attentionCase(ops.F32, 1, 40, 4, 2, 16)}
	}
	list := []benchmark{attentionCase(ops.F32, 12, 64, 4, 4, 32), attentionCase(ops.F32, 1, 128, 9, 3, 64),
		attentionCase(ops.F32, 8, 256, 6, 6, 64), attentionCase(ops.BF16, 8, 256, 6, 6, 64)}
	for _, b := range []benchmark{attentionCase(ops.F32, 1, 1024, 12, 12, 64), attentionCase(ops.F32, 8, 1024, 12, 12, 64),
		attentionCase(ops.BF16, 8, 1024, 12, 12, 64), attentionCase(ops.BF16, 4, 2048, 12, 12, 64), attentionCase(ops.F32, 2, 4096, 16, 16, 128),
		attentionCase(ops.BF16, 2, 4096, 16, 16, 128), attentionCase(ops.BF16, 1, 8192, 32, 4, 64)} {
		b.long = true
		list = append(list, b)
	}
	return list
}

// attentionCase is causal attention and its gradient from a cross-entropy of the
// result: b sequences of t positions, h heads that read kv heads, of s values.
// Counted is what each kernel multiplies on and below the diagonal.
func attentionCase(dt ops.DType, b, t, h, kv, s int) benchmark {
	product := float64(b*h) * float64(t*(t+1)) * float64(s)
	return benchmark{shape: fmt.Sprintf("[%d %d %d/%d %d]", b, t, h, kv, s), parts: []part{
		{name: "attention " + dt.String(), kernels: "attention. attention_lanes. attention_coop.", flops: 2 * product},
		{name: "attention_dq " + dt.String(), kernels: "attention_dq. attention_lanes_dq. attention_coop_dq.", flops: 3 * product},
		{name: "attention_dkv " + dt.String(), kernels: "attention_dkv. attention_lanes_dkv. attention_coop_dkv.", flops: 4 * product},
	}, build: func(r *running) {
		qs := values{}
		ks := qs.after(b * t * h * s)
		vs := ks.after(b * t * kv * s)
		q, k, v := r.filled(dt, qs, b, t, h, s), r.filled(dt, ks, b, t, kv, s), r.filled(dt, vs, b, t, kv, s)
		for _, x := range []*ops.Tensor{q, k, v} {
			r.graph.RequireGrad(x)
		}
		y := r.graph.Attention(q, k, v, nil)
		targets, _ := r.ids(b*t*h, s)
		r.graph.Backward(r.graph.CrossEntropy(r.graph.View(y, b*t*h, s), targets, nil), nil)
		dq, dk, dv, dy := r.graph.Grad(q), r.graph.Grad(k), r.graph.Grad(v), r.graph.Grad(y)
		tolerance := 1e-4
		if dt != ops.F32 {
			tolerance = 1.0 / 64
		}
		r.expectSome(y, min(samples, max(100, work/(t*s))), tolerance, func(i int) float64 {
			var sum, weights float64
			row, head := i/s/h, i/s%h
			for j := range row%t + 1 {
				at := ((row/t*t+j)*kv + head*kv/h) * s
				weight := math.Exp(dot(qs.row(i/s*s, s), ks.row(at, s)) / math.Sqrt(float64(s)))
				weights += weight
				sum += weight * vs.at(at+i%s)
			}
			return sum / weights
		})
		// Each gradient as a whole: Σ dv·v = Σ dy·y, and Σ dk·k = Σ dq·q.
		r.expectDots(tolerance, dv, v, dy, y)
		r.expectDots(tolerance, dk, k, dq, q)
	}}
}

func dot(a, b []float32) (sum float64) {
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// expectDots makes the check that both pairs of tensors have the same product, up to a part of the product of the norms of the
// first.
func (r *running) expectDots(tolerance float64, a, b, c, d *ops.Tensor) {
	product := func(x, y *ops.Tensor) *ops.Tensor {
		sum := r.graph.Sum(r.graph.Mul(x, y))
		r.graph.Output(sum)
		return sum
	}
	sums := []*ops.Tensor{product(a, b), product(c, d), product(a, a), product(b, b)}
	r.checks = append(r.checks, func() error {
		var of [4]float64
		for i, sum := range sums {
			x, err := ops.Item(r.ctx, sum)
			if err != nil {
				return err
			}
			of[i] = float64(x)
		}
		if !(math.Abs(of[0]-of[1]) <= tolerance*math.Sqrt(of[2]*of[3])) {
			return fmt.Errorf("a gradient times its values is %v, want %v", of[0], of[1])
		}
		return nil
	})
}
