package main

import (
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
)

// matmulCases lists products M×N×K: two of reference, the layers of a small model
// (12 windows of 64, width 128) and of SmolLM2-135M (128 positions, width 576),
// forward and backward, its head, and a token's way through both when decoding.
// GPUs also have a layer of GPT-2 with 8 times 1024 positions, and squares of 4096.
func matmulCases(c config) []benchmark {
	type size struct{ m, n, k int }
	shapes := map[string][]size{}
	for _, form := range []string{"nn", "nt", "tn"} {
		shapes[form] = []size{{512, 512, 512}, {2048, 576, 1536}}
	}
	shapes["nt"] = append(shapes["nt"], size{768, 128, 128}, size{128, 576, 576}, size{128, 1536, 576}, size{128, 49152, 576}, size{1, 1536, 576}, size{1, 49152, 576})
	shapes["nn"] = append(shapes["nn"], size{768, 128, 512}, size{128, 576, 1536}, size{128, 576, 49152})
	shapes["tn"] = append(shapes["tn"], size{128, 128, 768}, size{1536, 576, 128}, size{49152, 576, 128})
	var list []benchmark
	for _, form := range []string{"nn", "nt", "tn"} {
		if c.quick {
			list = append(list, matmulCase(form, ops.F32, 64, 64, 64))
			continue
		}
		for _, s := range shapes[form] {
			list = append(list, matmulCase(form, ops.F32, s.m, s.n, s.k))
		}
		list = append(list, matmulCase(form, ops.BF16, 512, 512, 512))
		if c.gpu && form == "nt" {
			list = append(list, matmulCase(form, ops.F32, 4096, 4096, 4096))
		}
		if c.gpu {
			list = append(list, matmulCase(form, ops.F32, 8192, 3072, 768), matmulCase(form, ops.BF16, 8192, 3072, 768),
				matmulCase(form, ops.F16, 4096, 4096, 4096), matmulCase(form, ops.BF16, 4096, 4096, 4096))
		}
	}
	return list
}

// matmulCase multiplies two matrices to one of m×n, with an inner dimension of k.
// A single row is a matter of reading the matrix.
func matmulCase(form string, dt ops.DType, m, n, k int) benchmark {
	p := part{name: fmt.Sprintf("matmul %s %s", form, dt), kernels: "matmul columnsum", flops: 2 * float64(m) * float64(n) * float64(k)}
	if m == 1 {
		p.bytes, p.flops = float64(dt.Size())*float64(k+k*n+n), 0
	}
	return benchmark{fmt.Sprintf("[%d %d %d]", m, n, k), []part{p}, func(r *running) {
		x := normals(m*k + k*n)
		// Each factor's step along the inner dimension, and along its own.
		ak, am, bk, bn := 1, k, n, 1
		sa, sb := []int{m, k}, []int{k, n}
		if form == "tn" {
			ak, am, sa = m, 1, []int{k, m}
		}
		if form == "nt" {
			bk, bn, sb = 1, k, []int{n, k}
		}
		a, b := r.tensor(dt, x[:m*k], sa...), r.tensor(dt, x[m*k:], sb...)
		multiply := map[string]func(a, b *ops.Tensor) *ops.Tensor{"nn": r.graph.MatMul, "nt": r.graph.MatMulNT, "tn": r.graph.MatMulTN}[form]
		c := multiply(a, b)
		r.graph.Output(c)
		tolerance := 1e-4
		if dt != ops.F32 {
			tolerance = 1.0 / 128
		}
		r.expect(c, tolerance, func(i int) (sum float64) {
			for l := range k {
				sum += float64(x[i/n*am+l*ak]) * float64(x[m*k+l*bk+i%n*bn])
			}
			return sum
		})
	}}
}
