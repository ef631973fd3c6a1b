package optim

import (
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// Muon makes the momentum of a matrix nearly orthogonal and moves by that, so that
// all directions learn alike (Jordan, "Muon: an optimizer for hidden layers in
// neural networks", 2024). It is for the matrices of hidden layers; embeddings, the
// output head, norms and biases belong in a group with another rule. A matrix has
// one row for each output, as in [ops.Graph.Linear].
//
//	m ← β1·m + (1−β1)·g;  x ← β1·m + (1−β1)·g
//	x ← x / (‖x‖ + 1e-7), and five times  s = x·xᵀ,  x ← a·x + (b·s + c·s·s)·x
//	θ ← θ − α·λ·θ − α·sqrt(max(1, rows/columns))·x
//
// with (a, b, c) = (3.4445, −4.7750, 2.0315): a Newton–Schulz iteration that brings
// every singular value near 1. It runs on the device, in f32 for parameters in f32,
// else in bf16 with f32 sums, on batches of matrices of one shape; its work does not
// depend on how many tokens a step has.
type Muon struct{}

var _ = Register(Muon{})

// Name implements Rule.
func (Muon) Name() string { return "muon" }

// Moments implements Rule.
func (Muon) Moments() []Moment { return []Moment{{"m", "momentum"}} }

// Defaults implements Rule.
func (Muon) Defaults() Hyper { return Hyper{LR: 0.02, Beta1: 0.95} }

// Numbers implements Rule.
func (Muon) Numbers(h Hyper, _ int64) (fixed [7]float64, step [2]float64) {
	return [7]float64{h.Beta1, 1 - h.Beta1, h.LR, h.LR * h.WeightDecay}, step
}

func (Muon) matrices() {}

// Record implements Rule.
func (Muon) Record(g *ops.Graph, p *Part) {
	for first := 0; first < len(p.reached); {
		b := p.batch(g, first)
		b.update(g)
		first += b.count
	}
}

// muonBatch is matrices of one shape that lie one behind the other.
type muonBatch struct {
	*Part
	count, rows, cols int
	n4                int // groups of four values of a matrix
	base4             int // where they begin in the arena of the moments
	first, chunks     int // their chunks in the table: so many, from number first on
	parts             int // chunks of a matrix
}

// batchBytes bounds the memory of a batch in f32. The iteration holds some five
// times as much, where a step has done with its activations. Tests lower it.
var batchBytes = 64 << 20

// batch returns as many matrices as go together, from number first of the reached
// ones on. A matrix whose size is no multiple of what tensors are aligned to goes by
// itself: there would be gaps.
func (p *Part) batch(g *ops.Graph, first int) *muonBatch {
	t := p.reached[first]
	_, _, n4 := p.set.Place(t)
	b := &muonBatch{Part: p, count: 1, rows: t.Shape()[0], cols: t.Shape()[1], n4: n4, base4: p.off4[t], parts: (n4 + g.Updater().Chunk4() - 1) / g.Updater().Chunk4()}
	for _, t := range p.reached[:first] {
		_, _, n4 := p.set.Place(t)
		b.first += (n4 + g.Updater().Chunk4() - 1) / g.Updater().Chunk4()
	}
	if n4%ops.BankAlign == 0 {
		for _, t := range p.reached[first+1:] {
			same := t.Shape()[0] == b.rows && t.Shape()[1] == b.cols && p.off4[t] == b.base4+b.count*n4
			if !same || (b.count+1)*n4*16 > batchBytes {
				break
			}
			b.count++
		}
	}
	b.chunks = b.count * b.parts
	return b
}

// update appends the step of a batch.
func (b *muonBatch) update(g *ops.Graph) {
	dt := ops.F32
	if b.Values.DType() != ops.F32 {
		dt = ops.BF16
	}
	momentum, squares := g.New(ops.F32, b.count, b.rows, b.cols), g.New(ops.F32, b.chunks)
	g.Dispatch("muon", ops.Call{Kernel: "muon." + b.grads().DType().String(), Groups: min(b.chunks, g.Updater().Workers()),
		Push: struct{ First, Chunks, Base4 uint32 }{uint32(b.first), uint32(b.chunks), uint32(b.base4)},
		Args: []*ops.Tensor{b.table, b.hyper, b.clip, b.grads(), b.moments[0], momentum, squares}})
	x := g.New(dt, b.count, b.rows, b.cols)
	g.Dispatch("muon", ops.Call{Kernel: "muon_unit.f32_" + dt.String(), Groups: min(b.chunks, g.Updater().Workers()),
		Push: struct{ Matrices, Parts, N4 uint32 }{uint32(b.count), uint32(b.parts), uint32(b.n4)}, Args: []*ops.Tensor{momentum, squares, x}})
	x = orthogonalize(g, x)
	args := []*ops.Tensor{b.table, b.hyper, b.clip, x, b.Values}
	if b.master != nil {
		args = append(args, b.master)
	}
	scale := math.Sqrt(max(1, float64(b.rows)/float64(b.cols)))
	g.Dispatch("muon", ops.Call{Kernel: "muon_apply." + dt.String() + "_" + b.Values.DType().String(), Groups: min(b.chunks, g.Updater().Workers()),
		Push: struct {
			First, Chunks, Base4 uint32
			Scale                float32
		}{uint32(b.first), uint32(b.chunks), uint32(b.base4), float32(scale)}, Args: args})
}

// orthogonalize appends five Newton–Schulz steps for each matrix of a batch
// (count, rows, columns) of norms at most 1. Of a tall matrix it is s = xᵀ·x and
// x·(b·s + c·s·s), which is the same and smaller.
func orthogonalize(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	const a, b, c = 3.4445, -4.7750, 2.0315
	tall := x.Shape()[1] > x.Shape()[2]
	for range 5 {
		var s, y *ops.Tensor
		if tall {
			s = g.MatMulTN(x, x)
		} else {
			s = g.MatMulNT(x, x)
		}
		s = axpby(g, b, s, c, g.MatMul(s, s))
		if tall {
			y = g.MatMul(x, s)
		} else {
			y = g.MatMul(s, x)
		}
		x = axpby(g, a, x, 1, y)
	}
	return x
}

// axpby appends a·x + b·y of two tensors of one type and shape.
func axpby(g *ops.Graph, a float32, x *ops.Tensor, b float32, y *ops.Tensor) *ops.Tensor {
	z := g.New(x.DType(), x.Shape()...)
	n4 := int(x.Bytes()) / x.DType().Size() / 4
	g.Dispatch("muon", ops.Call{Kernel: "axpby." + x.DType().String(), Items: n4, Push: struct {
		N4   uint32
		A, B float32
	}{uint32(n4), a, b}, Args: []*ops.Tensor{x, y, z}, TakeOver: [2]int{2, 1}})
	return z
}
