package optim_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestMuonGolden(t *testing.T) { goldens(t, map[string]optim.Rule{"muon": optim.Muon{}}, 2e-6) }

// matrix is a small dense matrix, row by row.
type matrix struct {
	rows, cols int
	v          []float64
}

func (a matrix) times(b matrix) matrix {
	y := matrix{a.rows, b.cols, make([]float64, a.rows*b.cols)}
	for i := range a.rows {
		for j := range b.cols {
			for k := range a.cols {
				y.v[i*b.cols+j] += a.v[i*a.cols+k] * b.v[k*b.cols+j]
			}
		}
	}
	return y
}

func (a matrix) transposed() matrix {
	y := matrix{a.cols, a.rows, make([]float64, len(a.v))}
	for i := range a.rows {
		for j := range a.cols {
			y.v[j*a.rows+i] = a.v[i*a.cols+j]
		}
	}
	return y
}

// plus is f·a + h·b.
func (a matrix) plus(f float64, b matrix, h float64) matrix {
	y := matrix{a.rows, a.cols, make([]float64, len(a.v))}
	for i := range y.v {
		y.v[i] = f*a.v[i] + h*b.v[i]
	}
	return y
}

func (a matrix) orthogonalized() matrix {
	norm := 0.0
	for _, v := range a.v {
		norm += v * v
	}
	x := a.plus(1/(math.Sqrt(norm)+1e-7), a, 0)
	for range 5 {
		s := x.times(x.transposed())
		x = x.plus(3.4445, s.plus(-4.7750, s.times(s), 2.0315).times(x), 1)
	}
	return x
}

func muonStep(w, g []float64, m [][]float64, shape []int, h optim.Hyper) {
	look := matrix{shape[0], shape[1], make([]float64, len(w))}
	for i := range w {
		m[0][i] = h.Beta1*m[0][i] + (1-h.Beta1)*g[i]
		look.v[i] = h.Beta1*m[0][i] + (1-h.Beta1)*g[i]
	}
	scale := math.Sqrt(max(1, float64(shape[0])/float64(shape[1])))
	for i, x := range look.orthogonalized().v {
		w[i] -= h.LR * h.WeightDecay * w[i]
		w[i] -= h.LR * scale * x
	}
}

// Matrices of several shapes, some more than once, in batches and by themselves,
// wide and tall, with padded rows, of one chunk and of more. In 16 bits the iteration
// runs in bf16: what is added is right to three of its units in the last place, and is
// a tenth of the values.
func TestMuon(t *testing.T) {
	test := ruleTest{
		rule: optim.Muon{}, tol: 2e-6, tol16: 1e-3, step: muonStep,
		shapes: [][]int{{16, 32}, {8, 16}, {16, 32}, {8, 16}, {32, 16}, {5, 7}, {5, 7}, {1, 3}, {16, 32}, {70, 33}, {8, 2052}},
		groups: []optim.Hyper{{LR: 0.02, WeightDecay: 0.1}, {LR: 0.005, Beta1: 0.9}, {LR: 0.001}},
	}
	t.Run("batches", test.test)
	t.Run("small batches", func(t *testing.T) {
		before := optim.SetBatchBytes(2 * 4 * 16 * 32)
		defer optim.SetBatchBytes(before)
		test.test(t)
	})
}

// Muon takes matrices alone, and has AdamW beside it for the rest, with moments for
// nothing but what each of them updates.
func TestMuonBesideAdamW(t *testing.T) {
	dev := vktest.Open(t)
	p := ops.NewParams(dev, ops.F32)
	table, hidden, bias := p.Add("table", 16, 32), p.Add("hidden", 64, 32), p.Add("bias", 96)
	must(t, p.Alloc())
	t.Cleanup(p.Release)
	_, err := optim.New(&optim.Options{Rule: optim.Muon{}}, p)
	wantError(t, "a vector", err, `group 0: bias f32[96] is not a matrix, which muon wants`)
	groups := []optim.Group{{Params: []*ops.Tensor{table, bias}, Hyper: optim.Hyper{LR: 1e-3}},
		{Params: []*ops.Tensor{hidden}, Rule: optim.Muon{}, Hyper: optim.Hyper{LR: 0.02}}}
	a := newOptimizer(t, p, &optim.Options{Groups: groups})
	if got, want := a.Bytes(), int64(4*(2*(16*32+128)+64*32)+16); got != want { // the bias takes 128 values
		t.Errorf("%d bytes, want %d", got, want)
	}
	alone := newParams(t, dev, ops.F32, make([]float32, 16*32), make([]float32, 96))
	b := newOptimizer(t, alone, &optim.Options{Groups: []optim.Group{{Params: alone.All(), Hyper: optim.Hyper{LR: 1e-3}}}})
	ref := [][]float64{make([]float64, 64*32), make([]float64, 64*32)} // hidden and its momentum
	u, v := record(t, a, dev), record(t, b, dev)
	for step := range 3 {
		var grads [3][]float32
		for i, x := range p.All() {
			grads[i] = opstest.Uniform(uint32(10*step+i), x.Len(), 1)
			must(t, ops.Upload(ctx, p.Grad(x), grads[i]))
		}
		setGrads(t, alone, [][]float32{grads[0], grads[2]})
		u.run(t)
		v.run(t)
		muonStep(ref[0], opstest.F64(grads[1]), ref[1:], hidden.Shape(), optim.Hyper{LR: 0.02, Beta1: 0.95})
	}
	sameBits(t, "table", download(t, table), download(t, alone.All()[0]))
	sameBits(t, "bias", download(t, bias), download(t, alone.All()[1]))
	near(t, "hidden", download(t, hidden), ref[0], 2e-6)
	norm, err := u.Norm(ctx)
	must(t, err)
	other, err := v.Norm(ctx)
	must(t, err)
	if norm <= other {
		t.Errorf("the norm over both rules' parameters is %v, over AdamW's alone %v", norm, other)
	}
}

// Matrices in several arenas, and more of them than a batch holds, move as they do
// in one.
func TestMuonOfSeveralArenas(t *testing.T) {
	const count, rows, cols = 20, 16, 1 << 14 // 1 MiB each
	update := func(dev *vk.Device) (arenas int, values []float32) {
		p := ops.NewParams(dev, ops.F32)
		for i := range count {
			p.Add(fmt.Sprint(i), rows, cols)
		}
		must(t, p.Alloc())
		defer p.Release()
		for i, x := range p.All() {
			must(t, ops.Upload(ctx, p.Grad(x), opstest.Uniform(uint32(i), x.Len(), 1)))
		}
		a := newOptimizer(t, p, &optim.Options{Rule: optim.Muon{}})
		record(t, a, dev).run(t)
		for _, x := range p.All() {
			values = append(values, download(t, x)...)
		}
		return len(p.Banks()), values
	}
	_, want := update(vktest.Open(t))
	vktest.Limit(t, vktest.Limits{Allocation: 16 << 20})
	before := optim.SetBatchBytes(5 << 20)
	defer optim.SetBatchBytes(before)
	arenas, got := update(vktest.Open(t))
	if arenas < 2 {
		t.Errorf("%d arena, want several", arenas)
	}
	near(t, "values", got, opstest.F64(want), 1e-6)
}
