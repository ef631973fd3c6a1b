package nn_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func value[T any](v T, err error) T {
	check(err)
	return v
}

// A training step from nothing: a text, its tokens on the device, a model, an
// optimizer, and the loop. README.md shows the same lines.
func Example() {
	ctx := context.Background()
	dev := value(vk.Open(nil)) // the best device
	defer dev.Close()

	text := strings.Repeat("0123456789", 100)
	ids := make([]uint16, len(text)) // here a token is a byte; see package train/tokenizer for others
	for i := range ids {
		ids[i] = uint16(text[i])
	}
	tokens := value(ops.NewTensor(dev, ops.U16, len(ids))) // the whole text, on the device
	defer tokens.Release()
	check(ops.Upload(ctx, tokens, ids))

	model := value(nn.NewTransformer(dev, ops.F32, nn.TransformerConfig{ // or ops.BF16
		Vocab: 256, Context: 32, Layers: 1, Heads: 2, Width: 32, FFN: 64,
		Norm: "rmsnorm", NormEps: 1e-5, Activation: "swiglu", Positions: "rope", RopeTheta: 1e4, Init: "truncated_normal",
	}, 42))
	defer model.Params().Release() // one flat arena
	opt := value(optim.NewAdamW(model.Params(), &optim.Options{MaxNorm: new(1.0)}))
	defer opt.Release()
	schedule := optim.Cosine{Max: 1e-2, Min: 1e-3, Warmup: 10, End: 100}

	g := ops.NewGraph(dev)                 // build once
	x, y, at := g.Batch(tokens, 4, 32, 42) // 4 windows of 32 tokens, drawn on the device
	loss := model.Loss(g, x, y)
	g.Backward(loss, nil)      // what the optimizer needs, be there loss scaling or not
	update := opt.Record(g)    // norm, clip, AdamW: three dispatches
	g.Output(loss)             // can be read after a run
	step := value(g.Compile()) // lifetimes, one arena, barriers, recording
	defer step.Close()

	for t := range uint32(100) { // replay: one submission, no allocation, no wait
		opt.SetLR(schedule.At(int64(t)))
		check(errors.Join(ops.Upload(ctx, at, []uint32{t, 0, 0, 0}), update.Stage(step), step.Run()))
	}
	fmt.Printf("loss %.1f\n", value(ops.Item(ctx, loss))) // waits for the last run
	// Output: loss 0.0
}
