package nn_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// A Llama-like model, trained on one text until it knows it by heart, and asked to go
// on from its first line.
func ExampleTransformer() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	m, err := nn.NewTransformer(dev, ops.F32, nn.TransformerConfig{
		Vocab: 256, Context: 64, Layers: 2, Heads: 4, KVHeads: 2, Width: 64, FFN: 172,
		Norm: "rmsnorm", NormEps: 1e-5, Activation: "swiglu", Positions: "rope_half", RopeTheta: 1e4,
		Tied: true, Init: "gpt2",
	}, 42)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Params().Release()
	adamw, err := optim.NewAdamW(m.Params(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer adamw.Release()
	adamw.SetLR(5e-3)

	text := []byte("package main\n\nfunc main() {\n\tprintln(\"hello\")\n}\n")
	ids := make([]int32, len(text))
	for i, c := range text {
		ids[i] = int32(c)
	}
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, 1, len(ids)-1), g.Input("y", ops.I32, 1, len(ids)-1)
	loss := m.Loss(g, x, y)
	g.Backward(loss, nil)
	update := adamw.Record(g)
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	if err := ops.Upload(ctx, x, ids[:len(ids)-1]); err != nil {
		log.Fatal(err)
	}
	if err := ops.Upload(ctx, y, ids[1:]); err != nil {
		log.Fatal(err)
	}
	for range 60 {
		if err := update.Stage(step); err != nil {
			log.Fatal(err)
		}
		if err := step.Run(); err != nil {
			log.Fatal(err)
		}
	}
	d, err := m.NewDecoder(64)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	err = nn.Generate(ctx, d, &nn.Sampler{}, ids[:12], len(ids)-12, func(id int32) error {
		fmt.Printf("%c", id)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// func main() {
	// 	println("hello")
	// }
}
