package benchcmd

import (
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
)

// forms are the products of a linear layer: y = x·wᵀ is nt, d x = d y·w is nn and d w = d yᵀ·x is tn.
var forms = []string{"nt", "nn", "tn"}

// matmulCases lists products M×N×K of reference, those of a small model (12 windows of 64, width 128), and a token's way
// through a layer and the head of SmolLM2-135M when decoding.
func matmulCases(c config) []benchmark {
	if c.quick {
		var list []benchmark
		for _, form := range forms {
			list = append(list, matmulCase("", form, ops.F32, 64, 64, 64))
		}
		return list
	}
	var list []benchmark
	add := func(form string, dt ops.DType, m, n, k int, long bool) {
		b := matmulCase("", form, dt, m, n, k)
		b.long = long
		list = append(list, b)
	}
	for _, form := range forms {
		add(form, ops.F32, 512, 512, 512, false)
		add(form, ops.BF16, 512, 512, 512, false)
		add(form, ops.F32, 2048, 576, 1536, false)
		add(form, ops.F16, 4096, 4096, 4096, true)
		add(form, ops.BF16, 4096, 4096, 4096, true)
	}
	for _, n := range []int{1024, 2048, 4096, 8192} {
		add("nt", ops.F32, n, n, n, n > 1024)
	}
	for _, n := range []int{1024, 2048, 8192} {
		add("nt", ops.F16, n, n, n, true)
		add("nt", ops.BF16, n, n, n, true)
	}
	add("nt", ops.F32, 768, 128, 128, false)
	add("nn", ops.F32, 768, 128, 512, false)
	add("tn", ops.F32, 128, 128, 768, false)
	add("nt", ops.F32, 1, 1536, 576, false)
	add("nt", ops.F32, 1, 49152, 576, false)
	return list
}

// modelLayers are the linear layers of models, (out, in); up is like gate.
var modelLayers = []struct {
	model, name string
	out, in     int
	short       bool // measured on processors too
}{
	{"gpt2", "qkv", 3 * 768, 768, false},
	{"gpt2", "out", 768, 768, false},
	{"gpt2", "up", 3072, 768, false},
	{"gpt2", "down", 768, 3072, false},
	{"gpt2", "head", 50257, 768, false},
	{"smollm2", "qkv", 576 + 2*192, 576, false},
	{"smollm2", "out", 576, 576, true},
	{"smollm2", "gate", 1536, 576, true},
	{"smollm2", "down", 576, 1536, false},
	{"smollm2", "head", 49152, 576, true},
	{"llama", "qkv", 2048 + 2*256, 2048, false}, // TinyLlama 1.1B
	{"llama", "out", 2048, 2048, false},
	{"llama", "gate", 5632, 2048, false},
	{"llama", "down", 2048, 5632, false},
	{"llama", "head", 32000, 2048, false},
}

// modelCases lists the products of modelLayers, forward and backward, for 8 windows of 1024 positions, or 1024 of them through
// a head, as that takes rows in chunks; on processors for 128 positions.
func modelCases(c config) []benchmark {
	if c.quick {
		return nil
	}
	var list []benchmark
	for _, dt := range []ops.DType{ops.F32, ops.BF16} {
		for _, l := range modelLayers {
			n := 128
			switch {
			case c.gpu && l.name == "head":
				n = 1024
			case c.gpu:
				n = 8192
			}
			for _, form := range forms {
				m, n, k := n, l.out, l.in
				switch form {
				case "nn":
					n, k = k, n
				case "tn":
					m, n, k = l.out, l.in, m
				}
				b := matmulCase(" "+l.model+" "+l.name, form, dt, m, n, k)
				b.long = !l.short || dt != ops.F32
				list = append(list, b)
			}
		}
	}
	return list
}

// matmulCase multiplies two matrices to one of m×n, with an inner dimension of k.
// A single row is a matter of reading the matrix.
func matmulCase(label, form string, dt ops.DType, m, n, k int) benchmark {
	p := part{name: fmt.Sprintf("matmul %s %s%s", form, dt, label), kernels: "matmul columnsum", flops: 2 * float64(m) * float64(n) * float64(k)}
	memory := float64(dt.Size()) * (float64(m)*float64(k) + float64(k)*float64(n) + float64(m)*float64(n))
	if m == 1 {
		p.bytes, p.flops = memory, 0
	}
	return benchmark{shape: fmt.Sprintf("[%d %d %d]", m, n, k), parts: []part{p}, memory: memory, build: func(r *running) {
		x, y := values{}, values{}.after(m*k)
		// Each factor's step along the inner dimension, and along its own.
		ak, am, bk, bn := 1, k, n, 1
		sa, sb := []int{m, k}, []int{k, n}
		if form == "tn" {
			ak, am, sa = m, 1, []int{k, m}
		}
		if form == "nt" {
			bk, bn, sb = 1, k, []int{n, k}
		}
		a, b := r.filled(dt, x, sa...), r.filled(dt, y, sb...)
		multiply := map[string]func(a, b *ops.Tensor) *ops.Tensor{"nn": r.graph.MatMul, "nt": r.graph.MatMulNT, "tn": r.graph.MatMulTN}[form]
		tolerance := 1e-4
		if dt != ops.F32 {
			tolerance = 1.0 / 128
		}
		r.expectSome(multiply(a, b), min(samples, max(100, work/k)), tolerance, func(i int) (sum float64) {
			for l := range k {
				sum += x.at(i/n*am+l*ak) * y.at(l*bk+i%n*bn)
			}
			return sum
		})
	}}
}
