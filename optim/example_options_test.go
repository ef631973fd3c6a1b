package optim_test

import (
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// Two groups, as most recipes have: matrices decay, norms and biases do not.
// One norm is taken over both, and one dispatch updates all.
func ExampleNew() {
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	params := ops.NewParams(dev, ops.BF16) // with f32 master copies, which the optimizer adds
	params.Add("embed", 256, 64)
	params.Add("norm", 64)
	params.Add("head", 256, 64)
	if err := params.Alloc(); err != nil {
		log.Fatal(err)
	}
	defer params.Release()

	var matrices, vectors []*ops.Tensor
	for _, p := range params.All() {
		if len(p.Shape()) > 1 {
			matrices = append(matrices, p)
		} else {
			vectors = append(vectors, p)
		}
	}
	decay := optim.Hyper{LR: 3e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}
	none := decay
	none.WeightDecay = 0
	opt, err := optim.New(&optim.Options{
		Rule:    optim.AdamW{Torch: true}, // PyTorch's order; the default is the CS336 hand-out's
		Groups:  []optim.Group{{Params: matrices, Hyper: decay}, {Params: vectors, Hyper: none}},
		MaxNorm: new(1.0),
	}, params)
	if err != nil {
		log.Fatal(err)
	}
	defer opt.Release()
	for _, s := range opt.Slots(matrices[0]) {
		fmt.Println(s.Name)
	}
	// Output:
	// adamw.m
	// adamw.v
	// adamw.master
}

// Linear warm-up over ten steps, then a cosine that reaches its end at step 100.
func ExampleCosine() {
	schedule := optim.Cosine{Max: 3e-4, Min: 3e-5, Warmup: 10, End: 100}
	for _, step := range []int64{0, 5, 10, 55, 100, 1000} {
		fmt.Printf("%4d %.3g\n", step, schedule.At(step))
	}
	// Output:
	//    0 0
	//    5 0.00015
	//   10 0.0003
	//   55 0.000165
	//  100 3e-05
	// 1000 3e-05
}
