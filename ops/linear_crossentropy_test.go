package ops_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// linearResult is what one pass of LinearCrossEntropy returns.
type linearResult struct {
	loss, dh, dw []float32
	stats        ops.StepStats
}

// linearMode says how linearRun runs.
type linearMode struct {
	head       int  // values of logits at a time; 0: the default
	unfused    bool // d loss is known only after the loss
	accumulate bool // onto a d weight of ones
}

func linearRun(t testing.TB, dev *vk.Device, dt ops.DType, h, w []float32, targets []int32, d, v int, o opstest.CrossEntropyOptions, m linearMode) linearResult {
	t.Helper()
	n := len(targets)
	hidden, ids := tensor(t, dev, dt, []int{n, d}, h), tensor(t, dev, ops.I32, []int{n}, targets)
	p := ops.NewParams(dev, dt)
	weight := p.Add("head", v, d)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	ones := make([]float32, v*d)
	for i := range ones {
		ones[i] = 1
	}
	if err := errors.Join(ops.Upload(ctx, weight, w), ops.Upload(ctx, p.Grad(weight), ones)); err != nil {
		t.Fatal(err)
	}
	g := ops.NewGraph(dev)
	if m.head > 0 {
		ops.SetHead(g, m.head)
	}
	g.RequireGrad(hidden)
	loss := g.LinearCrossEntropy(hidden, weight, ids, ceOptions(o))
	start := loss
	if m.unfused {
		start = g.Scale(loss, 1)
	}
	g.Backward(start, &ops.BackwardOptions{Seed: seed(t, g, o.Scale), Accumulate: m.accumulate})
	g.Output(loss)
	g.Output(g.Grad(hidden))
	s := run(t, g)
	return linearResult{values(t, loss), values(t, g.Grad(hidden)), values(t, p.Grad(weight)), s.Stats()}
}

func TestSpec1LinearCrossEntropyAgreesWithPyTorch(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range opstest.LinearCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			for _, m := range []linearMode{{}, {head: 1}, {head: 1, unfused: true}} {
				r := linearRun(t, dev, dtype(c.DType), c.Hidden(), c.Weight(), c.Targets(), c.D, c.V, c.Options, m)
				if e := opstest.RelErr(float64(r.loss[0]), c.Loss); e > 2e-6 {
					t.Errorf("%+v: loss %v, want %v (relative error %.2g)", m, r.loss[0], c.Loss, e)
				}
				// d logits and the gradients are rounded once each.
				tol := 1e-6
				if c.DType != "f32" {
					tol = 2 * opstest.Epsilon(c.DType)
				}
				opstest.CheckL2(t, "d hidden", r.dh, c.DHidden, tol)
				opstest.CheckL2(t, "d weight", r.dw, c.DWeight, tol)
			}
		})
	}
}

// 1000 rows by chunks of 128: the (N, V) matrix never exists, and neither loss
// nor gradients depend on the chunks.
func TestSpec1LinearCrossEntropyHoldsOneChunk(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v = 1000, 12, 203
	const chunk, padded = 128, 204 // rows of a chunk, values of a row of logits
	h, w, targets := opstest.Uniform(20, n*d, 1), opstest.Uniform(21, v*d, 1), opstest.IDs(22, n, v)
	for _, dt := range floats {
		t.Run(dt.String(), func(t *testing.T) {
			h, w := opstest.Round(dt.String(), h), opstest.Round(dt.String(), w)
			want := opstest.LinearCrossEntropy64(h, w, targets, d, v, opstest.CrossEntropyOptions{})
			for _, unfused := range []bool{false, true} {
				r := linearRun(t, dev, dt, h, w, targets, d, v, opstest.CrossEntropyOptions{}, linearMode{head: chunk * v, unfused: unfused})
				// One chunk of logits (with a 16-bit copy), a loss per row, d hidden, the f32 sum of d weight.
				limit := int64(chunk*padded*(4+2) + n*16 + n*d*4 + v*d*4 + 4096)
				if full := int64(n * padded * dt.Size()); limit > full || r.stats.ArenaBytes > limit {
					t.Errorf("unfused %v: %d bytes of intermediates, want at most %d; all logits are %d", unfused, r.stats.ArenaBytes, limit, full)
				}
				if e := opstest.RelErr(float64(r.loss[0]), want.Loss); e > 2e-6 {
					t.Errorf("unfused %v: loss %v, want %v", unfused, r.loss[0], want.Loss)
				}
				tol := max(1e-6, 2*opstest.Epsilon(dt.String()))
				if dt == ops.F32 {
					tol = 1e-6
				}
				if e := opstest.RelL2(r.dh, want.DHidden); e > tol {
					t.Errorf("unfused %v: d hidden off by %.2g", unfused, e)
				}
				if e := opstest.RelL2(r.dw, want.DWeight); e > tol {
					t.Errorf("unfused %v: d weight off by %.2g", unfused, e)
				}
			}
		})
	}
}

func TestSpec1LinearCrossEntropyAccumulates(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v = 200, 5, 33
	h, w, targets := opstest.Uniform(23, n*d, 1), opstest.Uniform(24, v*d, 1), opstest.IDs(25, n, v)
	for _, dt := range floats {
		h, w := opstest.Round(dt.String(), h), opstest.Round(dt.String(), w)
		want := opstest.LinearCrossEntropy64(h, w, targets, d, v, opstest.CrossEntropyOptions{})
		for i := range want.DWeight {
			want.DWeight[i]++
		}
		for _, unfused := range []bool{false, true} {
			r := linearRun(t, dev, dt, h, w, targets, d, v, opstest.CrossEntropyOptions{}, linearMode{head: 1, unfused: unfused, accumulate: true})
			if e := opstest.RelL2(r.dw, want.DWeight); e > tolerance(dt) {
				t.Errorf("%s, unfused %v: d weight plus one is off by %.2g", dt, unfused, e)
			}
		}
	}
}

// A head tied to the embedding: two shares of one gradient.
func TestSpec1LinearCrossEntropyTiedWeight(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v = 140, 6, 21
	w, ids, targets := opstest.Uniform(26, v*d, 1), opstest.IDs(27, n, v), opstest.IDs(28, n, v)
	p := ops.NewParams(dev, ops.F32)
	weight := p.Add("tied", v, d)
	if err := errors.Join(p.Alloc(), ops.Upload(ctx, weight, w)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	g := ops.NewGraph(dev)
	ops.SetHead(g, 1)
	x, y := tensor(t, dev, ops.I32, []int{n}, ids), tensor(t, dev, ops.I32, []int{n}, targets)
	a := g.LinearCrossEntropy(g.Embed(weight, x), weight, y, nil)
	b := g.LinearCrossEntropy(g.Embed(weight, y), weight, x, nil)
	g.Backward(g.Add(a, b), nil)
	run(t, g)

	h := opstest.Embed64(w, ids, d)
	r := opstest.LinearCrossEntropy64(h, opstest.F64(w), targets, d, v, opstest.CrossEntropyOptions{})
	want := opstest.EmbedBackward64(r.DHidden, ids, v, d)
	h2 := opstest.Embed64(w, targets, d)
	r2 := opstest.LinearCrossEntropy64(h2, opstest.F64(w), ids, d, v, opstest.CrossEntropyOptions{})
	for i, e := range opstest.EmbedBackward64(r2.DHidden, targets, v, d) {
		want[i] += e + r.DWeight[i] + r2.DWeight[i]
	}
	if e := opstest.RelL2(values(t, p.Grad(weight)), want); e > 1e-6 {
		t.Errorf("gradient of the tied weight is off by %.2g", e)
	}
}

func TestSpec1LinearCrossEntropyU16TargetsAndImmediate(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v = 300, 4, 9
	h, w, targets := opstest.Uniform(29, n*d, 1), opstest.Uniform(30, v*d, 1), opstest.IDs(31, n, v)
	want := linearRun(t, dev, ops.F32, h, w, targets, d, v, opstest.CrossEntropyOptions{}, linearMode{head: 1})
	small := make([]uint16, n)
	for i, id := range targets {
		small[i] = uint16(id)
	}
	hidden, weight := tensor(t, dev, ops.F32, []int{3, 100, d}, h), tensor(t, dev, ops.F32, []int{v, d}, w)
	ids := tensor(t, dev, ops.U16, []int{3, 100}, small)
	g := ops.NewImmediate(dev)
	defer g.Release()
	ops.SetHead(g, 1)
	g.RequireGrad(hidden)
	g.RequireGrad(weight)
	loss := g.LinearCrossEntropy(hidden, weight, ids, nil)
	g.Backward(loss, nil)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	opstest.Close(t, values(t, loss), want.loss, 0)
	opstest.Close(t, values(t, g.Grad(hidden)), want.dh, 0)
	opstest.Close(t, values(t, g.Grad(weight)), want.dw, 0)
}

func TestSpec1LinearCrossEntropyBadTarget(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	ops.SetHead(g, 1)
	ids := make([]int32, 300)
	ids[200] = 9
	loss := g.LinearCrossEntropy(tensor[float32](t, dev, ops.F32, []int{300, 4}, nil), tensor[float32](t, dev, ops.F32, []int{9, 4}, nil), tensor(t, dev, ops.I32, []int{300}, ids), nil)
	g.Output(loss)
	s := compile(t, g)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	err := s.Wait(ctx)
	var bad *ops.BadIndexError
	if !errors.As(err, &bad) || bad.Position != 200 || bad.Value != 9 || !strings.Contains(err.Error(), "linear cross-entropy") {
		t.Errorf("error %v, want index 9 at position 200", err)
	}
}

// Two heads on one hidden state, an intermediate: the earlier one must add its
// share after the later one has written.
func TestSpec1LinearCrossEntropyTwoHeads(t *testing.T) {
	dev := vktest.Open(t)
	const n, d, v = 140, 6, 21
	h, w := opstest.Uniform(32, n*d, 1), [2][]float32{opstest.Uniform(33, v*d, 1), opstest.Uniform(34, v*d, 1)}
	targets := opstest.IDs(35, n, v)
	hidden, ids := tensor(t, dev, ops.F32, []int{n, d}, h), tensor(t, dev, ops.I32, []int{n}, targets)
	g := ops.NewGraph(dev)
	ops.SetHead(g, 1)
	g.RequireGrad(hidden)
	x := g.Scale(hidden, 1)
	head := func(i int) *ops.Tensor {
		return g.LinearCrossEntropy(x, tensor(t, dev, ops.F32, []int{v, d}, w[i]), ids, nil)
	}
	g.Backward(g.Add(head(0), head(1)), nil)
	g.Output(g.Grad(hidden))
	run(t, g)
	want := opstest.LinearCrossEntropy64(h, w[0], targets, d, v, opstest.CrossEntropyOptions{}).DHidden
	for i, e := range opstest.LinearCrossEntropy64(h, w[1], targets, d, v, opstest.CrossEntropyOptions{}).DHidden {
		want[i] += e
	}
	if e := opstest.RelL2(values(t, g.Grad(hidden)), want); e > 1e-6 {
		t.Errorf("d hidden of two heads is off by %.2g", e)
	}
}
