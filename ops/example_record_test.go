package ops_test

import (
	"context"
	_ "embed"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

//go:embed testdata/softsign.spv
var softsignSPIRV []byte // of testdata/softsign.comp, by glslc

// softsign returns x/(1+|x|), d x = d y/(1+|x|)²: an operation that package ops does not have.
func softsign(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	g.Helper()
	const op = "softsign"
	if x.DType() != ops.F32 {
		g.Fail(op, fmt.Errorf("%v: want f32", x))
		return x
	}
	apply := func(dy *ops.Tensor, backward uint32) *ops.Tensor {
		y := g.New(ops.F32, x.Shape()...)
		n4 := int(x.Bytes() / 16) // groups of four values, the padding of rows included
		g.Dispatch(op, ops.Call{Kernel: op, SPIRV: softsignSPIRV, Threads: n4, Spec: map[uint32]uint32{10: backward},
			Push: struct{ N4 uint32 }{uint32(n4)}, Args: []*ops.Tensor{x, dy, y}})
		return y
	}
	y := apply(x, 0)
	g.Record(op, y, []*ops.Tensor{x}, func(dy *ops.Tensor) []*ops.Tensor { return []*ops.Tensor{apply(dy, 1)} })
	return y
}

// An operation with a kernel of its own, and its gradient.
func ExampleGraph_Record() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	g := ops.NewImmediate(dev)
	defer g.Release()
	x, y := g.Input("x", ops.F32, 1, 3), g.Input("y", ops.I32, 1)
	if err := ops.Upload(ctx, x, []float32{-1, 0, 3}); err != nil {
		log.Fatal(err)
	}
	if err := ops.Upload(ctx, y, []int32{2}); err != nil {
		log.Fatal(err)
	}
	g.RequireGrad(x)
	s := softsign(g, x)
	g.Backward(g.CrossEntropy(s, y, nil), nil)
	if err := g.Err(); err != nil {
		log.Fatal(err)
	}
	values, grad := make([]float32, 3), make([]float32, 3)
	if err := ops.Download(ctx, s, values); err != nil {
		log.Fatal(err)
	}
	if err := ops.Download(ctx, g.Grad(x), grad); err != nil {
		log.Fatal(err)
	}
	fmt.Println(values)
	fmt.Printf("%.3f\n", grad)
	// Output:
	// [-0.5 0 0.75]
	// [0.041 0.269 -0.027]
}
