package guest

import (
	"math"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
)

// Ten clipped steps of a rule with a kernel of its own are those of the formula in
// float64, with rates and decays of two groups.
func TestAdagrad(t *testing.T) {
	dev := open(t)
	p := ops.NewParams(dev, ops.F32)
	hyper := []optim.Hyper{{LR: 0.1, WeightDecay: 0.2}, {LR: 0.03, Eps: 0.5}}
	var groups []optim.Group
	for i, name := range []string{"a", "b"} {
		groups = append(groups, optim.Group{Params: []*ops.Tensor{p.Add(name, 3+i, 7)}, Rule: Adagrad{}, Hyper: hyper[i]})
	}
	must(t, p.Alloc())
	defer p.Release()
	opt, err := optim.New(&optim.Options{Groups: groups, MaxNorm: new(1.0)}, p)
	must(t, err)
	defer opt.Release()
	g := ops.NewGraph(dev)
	var slopes []*ops.Tensor
	var loss *ops.Tensor
	for _, w := range p.All() {
		slope := g.Input(w.Name(), ops.F32, w.Shape()...)
		slopes = append(slopes, slope)
		if term := g.Sum(g.Mul(w, slope)); loss == nil {
			loss = term
		} else {
			loss = g.Add(loss, term)
		}
	}
	g.Backward(loss, nil)
	update := opt.Record(g)
	step, err := g.Compile()
	must(t, err)
	defer step.Close()

	want, squares := [2][28]float64{}, [2][28]float64{}
	for k := range 10 {
		norm := 0.0
		var grads [2][]float32
		for i, slope := range slopes {
			grads[i] = make([]float32, slope.Len())
			for j := range grads[i] {
				grads[i][j] = float32(math.Sin(float64(5*k + 3*i + j)))
				norm += float64(grads[i][j]) * float64(grads[i][j])
			}
			must(t, ops.Upload(t.Context(), slope, grads[i]))
		}
		must(t, update.Stage(step))
		must(t, step.Run())
		norm = math.Sqrt(norm)
		for i, h := range hyper {
			eps := h.Eps
			if eps == 0 {
				eps = Adagrad{}.Defaults().Eps
			}
			for j, v := range grads[i] {
				v := float64(v) / (norm + 1e-6)
				squares[i][j] += v * v
				want[i][j] -= h.LR*h.WeightDecay*want[i][j] + h.LR*v/(math.Sqrt(squares[i][j])+eps)
			}
		}
	}
	for i, w := range p.All() {
		got := make([]float32, w.Len())
		must(t, ops.Download(t.Context(), w, got))
		for j, v := range got {
			if !(math.Abs(float64(v)-want[i][j]) <= 1e-6) {
				t.Errorf("%s[%d] is %v, want %v", w.Name(), j, v, want[i][j])
			}
		}
	}
}

// A configuration names the rule, and a checkpoint that it trained is read by its
// name, with the optimizer and without.
func TestAdagradByName(t *testing.T) {
	dev := open(t)
	begin(t)
	k := kinds[2]
	const name = "adagrad"
	sample, err := run(t.Context(), t, dev, name, k.reserve, nil)
	must(t, err)
	learned(t, name)
	m, err := k.open(t.Context(), dev, config(name).Dir())
	must(t, err)
	defer m.Params().Release()
	if text := generate(t, m); text != sample {
		t.Errorf("the model that was loaded says %q, while it was trained it said %q", text, sample)
	}
	opt, err := optim.New(&optim.Options{Rule: Adagrad{}}, m.Params())
	must(t, err)
	defer opt.Release()
	path, _, err := train.Latest(config(name).Dir())
	must(t, err)
	for _, o := range []*optim.Optimizer{opt, nil} {
		_, err := train.Load(t.Context(), path, m.Params(), o)
		must(t, err)
	}
}
