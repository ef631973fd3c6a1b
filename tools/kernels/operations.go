package main

import (
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

// operation adds an operation to graphs, in each of the forms for which ops has other kernels or constants.
type operation struct {
	name string
	add  func(b *builder)
}

// builder has the next graph of an operation on tensors of one type. A graph has one backward pass, so there are several.
type builder struct {
	*ops.Graph
	dt    ops.DType
	err   error
	owned []interface{ Release() }
}

func (o operation) plan(dev *vk.Device, dt ops.DType) error {
	b := &builder{Graph: ops.NewGraph(dev), dt: dt}
	o.add(b)
	b.Release()
	return b.err
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// next plans the graph and begins another.
func (b *builder) next() {
	b.fail(plan(b.Graph))
	for _, t := range b.owned {
		t.Release()
	}
	b.owned = nil
	b.Graph = ops.NewGraph(b.Device())
}

func (b *builder) tensor(dt ops.DType, shape ...int) *ops.Tensor {
	t, err := ops.NewTensor(b.Device(), dt, shape...)
	b.fail(err)
	b.owned = append(b.owned, t)
	return t
}

// variable is a tensor of the builder's type whose gradient is wanted.
func (b *builder) variable(shape ...int) *ops.Tensor {
	t := b.tensor(b.dt, shape...)
	b.RequireGrad(t)
	return t
}

// parameter is a variable in a parameter set of its own.
func (b *builder) parameter(shape ...int) *ops.Tensor {
	p := ops.NewParams(b.Device(), b.dt)
	t := p.Add("weight", shape...)
	b.fail(p.Alloc())
	b.owned = append(b.owned, p)
	return t
}

// differentiate keeps y, and the gradients that flow back to it from a loss, and begins another graph.
func (b *builder) differentiate(y *ops.Tensor, of ...*ops.Tensor) {
	b.Output(y)
	classes := y.Shape()[len(y.Shape())-1]
	rows := y.Len() / classes
	b.minimize(b.CrossEntropy(b.View(y, rows, classes), b.tensor(ops.I32, rows), nil))
	for _, x := range of {
		if dx := b.Grad(x); dx != nil {
			b.Output(dx)
		}
	}
	b.next()
}

func (b *builder) minimize(loss *ops.Tensor) {
	b.Output(loss)
	b.Backward(loss, nil)
}

// The widths of rows: a part of a subgroup, one that no power of two divides, models small and large.
var widths = []int{16, 65, 128, 768, 4096, 8192, 50257}

// The sizes of attention heads that the presets do not have, and theirs.
var heads = []int{64, 128, 256}

var operations = []operation{
	{"cast", func(b *builder) {
		for _, to := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
			b.CastTo(b.tensor(b.dt, 1<<16), b.tensor(to, 1<<16))
		}
		b.Fill(b.tensor(b.dt, 1<<16), 1)
		b.AddTo(b.tensor(b.dt, 1<<16), b.tensor(ops.F32, 1<<16))
		b.next()
	}},
	{"elementwise", func(b *builder) {
		for _, n := range []int{1 << 10, 1 << 24} { // an invocation does more where there is much
			b.Output(b.Add(b.tensor(b.dt, n), b.tensor(b.dt, n)))
			b.Output(b.Scale(b.tensor(b.dt, n), 2))
		}
		b.next()
	}},
	{"arithmetic", func(b *builder) {
		x, row, column := b.variable(256, 514), b.parameter(514), b.variable(256, 1)
		b.differentiate(b.Div(b.Mul(b.Sub(x, row), x), column), x, column)
		x = b.variable(256, 514)
		b.differentiate(b.Add(b.RMSNorm(x, nil, 1e-5), b.RowMean(x)), x)
	}},
	{"function", func(b *builder) {
		x := b.variable(256, 514)
		y := b.Log(b.Exp(b.Tanh(b.Sigmoid(x))))
		b.differentiate(b.Add(b.ReLU(y), b.ReLUSquared(y)), x)
	}},
	{"parts", func(b *builder) {
		x := b.variable(64, 256, 8)
		b.differentiate(b.Concat(2, b.Transpose(b.Transpose(x, 0, 1), 0, 1), b.Slice(x, 2, 1, 4)), x)
		x = b.variable(64, 1024)
		b.differentiate(b.Transpose(x, 0, 1), x)
		x = b.variable(64, 1024)
		b.Output(b.ArgMax(x))
		b.minimize(b.Sum(b.LogProb(x, b.tensor(ops.I32, 64), nil)))
		b.next()
	}},
	{"activation", func(b *builder) {
		x := b.variable(256, 512)
		y := b.SwiGLU(b.SiLU(b.GELU(b.GELUTanh(x))), x)
		b.Train(b.Input("random", ops.U32, 4))
		b.differentiate(b.Dropout(y, 0.5), x)
	}},
	{"softmax", func(b *builder) {
		for _, n := range widths {
			x := b.variable(64, n)
			b.differentiate(b.Softmax(x), x)
		}
	}},
	{"norm", func(b *builder) {
		for _, n := range widths {
			x, w, bias := b.variable(512, n), b.parameter(n), b.parameter(n)
			b.differentiate(b.LayerNorm(b.RMSNorm(x, w, 1e-5), w, bias, 1e-5), x)
		}
	}},
	{"cross-entropy", func(b *builder) {
		for _, n := range widths {
			for _, o := range []*ops.CrossEntropyOptions{nil, {LabelSmoothing: 0.1, ZLoss: 1e-4}} {
				x := b.variable(4096, n)
				b.minimize(b.CrossEntropy(b.Scale(x, 1), b.tensor(ops.I32, 4096), o))
				b.next()
			}
		}
	}},
	{"head", func(b *builder) {
		b.minimize(b.LinearCrossEntropy(b.variable(512, 768), b.parameter(50257, 768), b.tensor(ops.I32, 512), nil))
		b.next()
	}},
	{"embed", func(b *builder) {
		for _, ids := range []ops.DType{ops.I32, ops.U16} {
			b.differentiate(b.Embed(b.parameter(1000, 768), b.tensor(ids, 512)))
		}
	}},
	{"rope", func(b *builder) {
		for _, half := range []bool{false, true} {
			for _, size := range heads {
				x := b.variable(2, 128, 4, size)
				b.differentiate(b.RoPE(x, &ops.RoPEOptions{HalfSplit: half}), x)
			}
		}
	}},
	{"attention", func(b *builder) {
		for _, size := range heads {
			q, k, v := b.variable(2, 256, 4, size), b.variable(2, 256, 2, size), b.variable(2, 256, 2, size)
			b.differentiate(b.Attention(q, k, v, nil), q, k, v)
		}
	}},
	{"attention options", func(b *builder) {
		for i, o := range []*ops.AttentionOptions{{Window: 64}, {SoftCap: 50}, {}, {}} {
			if i > 1 {
				o.Mask = b.tensor([]ops.DType{ops.F32, ops.U16}[i-2], 256, 256)
			}
			q, k, v := b.variable(2, 256, 4, 64), b.variable(2, 256, 2, 64), b.variable(2, 256, 2, 64)
			b.differentiate(b.Attention(q, k, v, o), q, k, v)
		}
	}},
	{"decoding", func(b *builder) {
		start := b.tensor(ops.U32, 4)
		for _, size := range heads {
			keys, values := b.tensor(b.dt, 1, 256, 2, size), b.tensor(b.dt, 1, 256, 2, size)
			b.StoreRows(keys, b.tensor(b.dt, 1, 1, 2, size), start)
			b.Output(b.Attention(b.tensor(b.dt, 1, 1, 4, size), keys, values, &ops.AttentionOptions{Start: start}))
		}
		b.next()
	}},
	{"matmul", func(b *builder) {
		for _, n := range []int{1, 2, 3, 8, 16, 40, 64, 512} { // rows
			x, w := b.variable(n, 512), b.parameter(512, 512)
			b.Output(b.MatMul(x, w))
			b.Output(b.MatMulTN(b.tensor(b.dt, 512, n), w))
			b.differentiate(b.Linear(x, w, b.parameter(512)), x)
		}
		b.differentiate(b.MatMul(b.variable(4, 2048, 2048), b.tensor(b.dt, 4, 2048, 2048)))
		b.differentiate(b.MatMulNT(b.variable(4, 2048, 2048), b.tensor(b.dt, 4, 2048, 2048)))
		for _, n := range []int{8, 64, 2048} { // and what runs in the store of a product
			x, w := b.variable(n, 2048), b.parameter(2048, 2048)
			b.differentiate(b.Add(x, b.Linear(b.GELU(b.Linear(x, w, nil)), w, nil)), x)
		}
	}},
	{"optimizers", func(b *builder) {
		for _, rule := range optim.Rules() {
			for _, accumulate := range []bool{false, true} {
				b.optimizer(rule, accumulate)
			}
		}
	}},
}

// optimizer adds the update of a set with a matrix by a rule, after a loss that reaches it.
func (b *builder) optimizer(rule optim.Rule, accumulate bool) {
	p := ops.NewParams(b.Device(), b.dt)
	w := p.Add("weight", 1000, 64)
	if err := p.Alloc(); err != nil {
		b.fail(err)
		return
	}
	one := 1.0
	o := &optim.Options{Rule: rule, Accumulate: accumulate, MaxNorm: &one, Reserve: true}
	if b.dt == ops.F16 {
		o.Scaler = &optim.Scaler{}
	}
	a, err := optim.NewAdamW(p, o)
	if err != nil {
		b.fail(err)
		return
	}
	b.owned = append(b.owned, p, a)
	loss := b.LinearCrossEntropy(b.tensor(b.dt, 128, 64), w, b.tensor(ops.I32, 128), nil)
	a.Backward(b.Graph, loss, 1)
	a.Record(b.Graph)
	b.next()
}
