package optim_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// Train a table of next-token logits with clipping and a learning-rate
// schedule. Each pass of the loop is one submission; reading the loss waits.
func ExampleAdamW() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	params := ops.NewParams(dev, ops.F32)
	table := params.Add("table", 4, 4) // zeros
	if err := params.Alloc(); err != nil {
		log.Fatal(err)
	}
	defer params.Release()
	hyper := optim.DefaultHyper()
	hyper.WeightDecay = 0.01
	opt, err := optim.NewAdamW(params, &optim.Options{
		MaxNorm: new(1.0),
		Groups:  []optim.Group{{Params: params.All(), Hyper: hyper}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer opt.Release()

	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, 4), g.Input("y", ops.I32, 4)
	loss := g.CrossEntropy(g.Embed(table, x), y, nil)
	g.Output(loss)
	g.Backward(loss, nil)
	update := opt.Record(g)
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()

	ops.Upload(ctx, x, []int32{0, 1, 2, 3})
	ops.Upload(ctx, y, []int32{1, 2, 3, 0})
	schedule := optim.Cosine{Max: 0.1, Min: 0.01, Warmup: 2, End: 40}
	for t := range int64(41) {
		opt.SetLR(schedule.At(t))
		if err := update.Stage(step); err != nil {
			log.Fatal(err)
		}
		if err := step.Run(); err != nil {
			log.Fatal(err)
		}
		if t%20 == 0 {
			l, err := ops.Item(ctx, loss)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("step %d: loss %.2f\n", t, l)
		}
	}
	// Output:
	// step 0: loss 1.39
	// step 20: loss 0.15
	// step 40: loss 0.08
}

func ExampleClipGradNorm() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	params := ops.NewParams(dev, ops.F32)
	a, b := params.Add("a", 1), params.Add("b", 1)
	if err := params.Alloc(); err != nil {
		log.Fatal(err)
	}
	defer params.Release()
	ops.Upload(ctx, params.Grad(a), []float32{30})
	ops.Upload(ctx, params.Grad(b), []float32{-40})

	norm, err := optim.ClipGradNorm(ctx, params, 1)
	if err != nil {
		log.Fatal(err)
	}
	clipped, err := ops.Item(ctx, params.Grad(b))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("norm %.0f, b's gradient %.2f\n", norm, clipped)
	// Output: norm 50, b's gradient -0.80
}

// Muon for the matrix of a hidden layer, AdamW for the embedding, in one update
// with one norm; a frozen set beside them costs nothing.
func ExampleMuon() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	params, base := ops.NewParams(dev, ops.F32), ops.NewParams(dev, ops.BF16)
	table, hidden := params.Add("table", 8, 16), params.Add("hidden", 16, 16)
	base.Add("pretrained", 16, 16)
	base.Freeze()
	for _, p := range []*ops.Params{params, base} {
		if err := p.Alloc(); err != nil {
			log.Fatal(err)
		}
		defer p.Release()
	}
	opt, err := optim.New(&optim.Options{MaxNorm: new(1.0), Groups: []optim.Group{
		{Params: []*ops.Tensor{table}, Rule: optim.AdamW{}, Hyper: optim.Hyper{LR: 1e-3}},
		{Params: []*ops.Tensor{hidden}, Rule: optim.Muon{}, Hyper: optim.Hyper{LR: 0.02}},
	}}, params, base)
	if err != nil {
		log.Fatal(err)
	}
	defer opt.Release()
	for _, p := range params.All() {
		for _, s := range opt.Slots(p) {
			fmt.Println(s.Name, p.Name())
		}
	}
	g := ops.NewGraph(dev)
	update := opt.Record(g) // gradients come from elsewhere: here they are ones
	step, err := g.Compile()
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	ones := make([]float32, 16*16)
	for i := range ones {
		ones[i] = 1
	}
	ops.Upload(ctx, params.Grad(hidden), ones)
	if err := update.Stage(step); err != nil {
		log.Fatal(err)
	}
	if err := step.Run(); err != nil {
		log.Fatal(err)
	}
	norm, err := update.Norm(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("norm", norm)
	// Output:
	// adamw.m table
	// adamw.v table
	// muon.m hidden
	// norm 16
}
