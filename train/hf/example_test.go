package hf_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/vk"
)

// Load a model, change it, and write it as a folder like the one it came from.
func Example() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	folder, err := hf.Open("SmolLM2-135M")
	if err != nil {
		log.Fatal(err)
	}
	defer folder.Close()
	model, err := nn.ReserveTransformer(dev, ops.BF16, folder.Config)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Params().Release()
	if err := folder.Load(ctx, model.Params(), nil); err != nil {
		log.Fatal(err)
	}
	// Train it.
	if err := folder.Export(ctx, "SmolLM2-135M-tuned", model.Params()); err != nil {
		log.Fatal(err)
	}
}

// What a folder holds is known before anything is loaded.
func ExampleOpen() {
	folder, err := hf.Open("testdata/llama")
	if err != nil {
		log.Fatal(err)
	}
	defer folder.Close()
	c := folder.Config
	fmt.Println(c.Layers, "blocks of width", c.Width, "with", c.Heads, "heads on", c.KVHeads)
	fmt.Println(c.Norm, c.Activation, c.Positions)
	// Output:
	// 2 blocks of width 32 with 2 heads on 1
	// rmsnorm swiglu rope_half
}
