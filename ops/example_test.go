package ops_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// A bigram model, compiled once and replayed: each run draws a new batch and
// leaves the gradient of the table in the parameter arena. Package optim has what
// then changes the table, which is all zeros here: the loss is log 256.
func Example() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()

	const v, b, t = 256, 8, 64   // vocabulary, batch, context length
	text := make([]uint16, 1000) // at least t+1 token ids
	for i := range text {
		text[i] = uint16("to be, or not to be. "[i%21])
	}
	tokens, err := ops.NewTensor(dev, ops.U16, len(text))
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Release()
	if err := ops.Upload(ctx, tokens, text); err != nil {
		log.Fatal(err)
	}
	params := ops.NewParams(dev, ops.F32)
	table := params.Add("table", v, v)
	if err := params.Alloc(); err != nil {
		log.Fatal(err)
	}
	defer params.Release()

	g := ops.NewGraph(dev)
	x, y, at := g.Batch(tokens, b, t, 42)
	loss := g.CrossEntropy(g.Embed(table, x), y, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	for k := range uint32(100) {
		if err := ops.Upload(ctx, at, []uint32{k, 0, 0, 0}); err != nil {
			log.Fatal(err)
		}
		if err := step.Run(); err != nil { // one submission; does not wait
			log.Fatal(err)
		}
	}
	l, err := ops.Item(ctx, loss) // waits for the last run
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.3f\n", l)
	// Output: loss 5.545
}

// Arrays of the caller's own: each operation runs as it is called.
func ExampleNewImmediate() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	g := ops.NewImmediate(dev)
	defer g.Release()
	logits, targets := g.Input("logits", ops.F32, 2, 3), g.Input("targets", ops.I32, 2)
	if err := ops.Upload(ctx, logits, []float32{1, 2, 3, 1, 0, -1}); err != nil {
		log.Fatal(err)
	}
	if err := ops.Upload(ctx, targets, []int32{2, 0}); err != nil {
		log.Fatal(err)
	}
	g.RequireGrad(logits)
	loss := g.CrossEntropy(logits, targets, nil)
	g.Backward(loss, nil)
	if err := g.Err(); err != nil { // the first error of any call above
		log.Fatal(err)
	}
	grad := make([]float32, 6)
	if err := ops.Download(ctx, g.Grad(logits), grad); err != nil {
		log.Fatal(err)
	}
	l, err := ops.Item(ctx, loss)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.3f, gradient %.3f\n", l, grad)
	// Output: loss 0.408, gradient [0.045 0.122 -0.167 -0.167 0.122 0.045]
}

// Causal attention, one head of four values: a query sees its own position and those
// before it, here all alike, so each result is the mean of the values so far.
func ExampleGraph_Attention() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	g := ops.NewImmediate(dev)
	defer g.Release()
	q, k, v := g.Input("q", ops.F32, 1, 3, 1, 4), g.Input("k", ops.F32, 1, 3, 1, 4), g.Input("v", ops.F32, 1, 3, 1, 4) // (B, T, heads, size)
	zeros := make([]float32, 12)
	values := []float32{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 6}
	if err := errors.Join(ops.Upload(ctx, q, zeros), ops.Upload(ctx, k, zeros), ops.Upload(ctx, v, values)); err != nil {
		log.Fatal(err)
	}
	y := g.Attention(q, k, v, nil) // like q
	if err := g.Err(); err != nil {
		log.Fatal(err)
	}
	if err := ops.Download(ctx, y, values); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f\n", values)
	// Output: [0.00 0.00 0.00 1.00 0.00 0.00 0.00 1.50 0.00 0.00 0.00 3.00]
}

// Gradient accumulation: k runs of a step whose loss counts 1/k each.
func ExampleGraph_Backward() {
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	params := ops.NewParams(dev, ops.F32)
	head := params.Add("head", 1000, 64)
	if err := params.Alloc(); err != nil {
		log.Fatal(err)
	}
	defer params.Release()

	const k = 4
	g := ops.NewGraph(dev)
	hidden, targets := g.Input("hidden", ops.F32, 32, 64), g.Input("targets", ops.I32, 32)
	part := g.Input("part", ops.F32)
	if err := ops.Upload(context.Background(), part, []float32{1.0 / k}); err != nil {
		log.Fatal(err)
	}
	loss := g.LinearCrossEntropy(hidden, head, targets, &ops.CrossEntropyOptions{LabelSmoothing: 0.1})
	g.Backward(loss, &ops.BackwardOptions{Seed: part, Accumulate: true})
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	fmt.Println("bytes of intermediates:", step.Stats().ArenaBytes)
}

// A kernel of package shaders that no method wraps: y = x.
func ExampleGraph_Dispatch() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	y, err := ops.NewTensor(dev, ops.F32, 1024)
	if err != nil {
		log.Fatal(err)
	}
	defer y.Release()
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 1024)
	g.Dispatch("copy", ops.Call{Kernel: "copy", Items: 256, Push: struct{ N4 uint32 }{256}, Args: []*ops.Tensor{x, y}})
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	values := make([]float32, 1024)
	values[1023] = 7
	if err := ops.Upload(ctx, x, values); err != nil {
		log.Fatal(err)
	}
	if err := step.Run(); err != nil {
		log.Fatal(err)
	}
	clear(values)
	if err := ops.Download(ctx, y, values); err != nil {
		log.Fatal(err)
	}
	fmt.Println(values[1023])
	// Output: 7
}
