package ops_test

import (
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// A transformer block of one's own, without package nn: normalize, attend, add;
// normalize, widen, narrow, add.
func Example_transformerBlock() {
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	const b, t, heads, size, width, wide, vocab = 4, 32, 2, 16, 32, 128, 256
	params := ops.NewParams(dev, ops.F32)
	table := params.Add("table", vocab, width)
	norm1, norm2 := params.Add("norm1", width), params.Add("norm2", width)
	query, key, value := params.Add("query", width, width), params.Add("key", width, width), params.Add("value", width, width)
	output, up, down := params.Add("output", width, width), params.Add("up", wide, width), params.Add("down", width, wide)
	if err := params.Alloc(); err != nil { // zeros: upload what to start from
		log.Fatal(err)
	}
	defer params.Release()

	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, b, t), g.Input("y", ops.I32, b, t)
	h := g.Embed(table, x) // (B, T, D)

	n := g.RMSNorm(h, norm1, 1e-5)
	split := func(x *ops.Tensor) *ops.Tensor { return g.View(x, b, t, heads, size) } // (B, T, H, S)
	q, k, v := split(g.Linear(n, query, nil)), split(g.Linear(n, key, nil)), split(g.Linear(n, value, nil))
	a := g.Attention(g.RoPE(q, nil), g.RoPE(k, nil), v, nil)
	h = g.Add(h, g.Linear(g.View(a, b, t, width), output, nil))

	n = g.RMSNorm(h, norm2, 1e-5)
	h = g.Add(h, g.Linear(g.GELU(g.Linear(n, up, nil)), down, nil))

	loss := g.LinearCrossEntropy(h, table, y, nil) // the head is the table
	g.Backward(loss, nil)
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	fmt.Println(step.Stats().Dispatches, "dispatches,", step.Stats().Submissions, "submission")
}
