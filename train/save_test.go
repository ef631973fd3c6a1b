package train_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/vk"
)

// ownLoop is a model with an optimizer and a step, without a Trainer.
type ownLoop struct {
	model *nn.Bigram
	opt   *optim.Optimizer
	x, y  *ops.Tensor
	loss  *ops.Tensor
	u     *optim.Update
	step  *ops.Step
}

func newLoop(t testing.TB, dev *vk.Device, dt ops.DType, vocab int) *ownLoop {
	t.Helper()
	m, err := nn.NewBigram(dev, dt, vocab)
	must(t, err)
	t.Cleanup(m.Params().Release)
	l := &ownLoop{model: m}
	l.opt, err = optim.NewAdamW(m.Params(), &optim.Options{MaxNorm: new(1.0), Scaler: &optim.Scaler{Init: 256, Interval: 3}})
	must(t, err)
	t.Cleanup(l.opt.Release)
	g := ops.NewGraph(dev)
	l.x, l.y = g.Input("x", ops.I32, 1, 4), g.Input("y", ops.I32, 1, 4)
	l.loss = m.Loss(g, l.x, l.y)
	g.Backward(l.loss, nil)
	g.Output(l.loss)
	l.u = l.opt.Record(g)
	l.step, err = g.Compile()
	must(t, err)
	t.Cleanup(func() { l.step.Close() })
	return l
}

// run does steps from to to−1; the bits of the losses tell of all there is.
func (l *ownLoop) run(t testing.TB, from, to int) (losses []uint32) {
	t.Helper()
	for k := from; k < to; k++ {
		must(t, ops.Upload(ctx, l.x, []int32{int32(k % 7), int32(k % 5), 3, 1}))
		must(t, ops.Upload(ctx, l.y, []int32{int32(k % 5), int32(k % 3), 1, 0}))
		must(t, l.u.Stage(l.step))
		must(t, l.step.Run())
		v, err := ops.Item(ctx, l.loss)
		must(t, err)
		losses = append(losses, math.Float32bits(v))
	}
	return losses
}

// Saved after 5 steps and loaded into a fresh model and optimizer, training goes
// on with the bits of a run that was not stopped.
func TestSpec6SaveAndLoadWithoutATrainer(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
		path := filepath.Join(t.TempDir(), "new", "state.safetensors")
		straight := newLoop(t, dev, dt, 8)
		want := straight.run(t, 0, 12)

		first := newLoop(t, dev, dt, 8)
		first.run(t, 0, 5)
		must(t, train.Save(ctx, path, first.model.Params(), first.opt, map[string]string{"step": "5"}))
		first.run(t, 5, 7) // a save changes nothing

		second := newLoop(t, dev, dt, 8)
		second.run(t, 0, 1) // and a load all
		meta, err := train.Load(ctx, path, second.model.Params(), second.opt)
		must(t, err)
		from, err := strconv.Atoi(meta["step"])
		must(t, err)
		if got := second.run(t, from, 12); !slices.Equal(got, want[5:]) {
			t.Errorf("%s: losses %x after loading, want %x", dt, got, want[5:])
		}
		if len(meta) != 1 {
			t.Errorf("metadata %v, want the caller's alone", meta)
		}
		a, err := straight.opt.State(ctx)
		must(t, err)
		b, err := second.opt.State(ctx)
		must(t, err)
		if a.Scale != b.Scale || a.Good != b.Good || a.Steps["bigram.table"] != b.Steps["bigram.table"] {
			t.Errorf("%s: state %+v after loading, want %+v", dt, b, a)
		}
		// The model alone.
		third := newLoop(t, dev, dt, 8)
		_, err = train.Load(ctx, path, third.model.Params(), nil)
		must(t, err)
		must(t, train.Save(ctx, path, third.model.Params(), nil, nil))
		_, err = train.Load(ctx, path, third.model.Params(), third.opt)
		mustFail(t, err, "saved without an optimizer")
	}
}

// A file that does not fit, and a state that is not finite, change nothing.
func TestSpec6SaveAndLoadErrors(t *testing.T) {
	dev := vktest.Open(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "state.safetensors")
	l, wider, other := newLoop(t, dev, ops.F32, 8), newLoop(t, dev, ops.F32, 12), newLoop(t, dev, ops.BF16, 8)
	l.run(t, 0, 3)
	must(t, train.Save(ctx, path, l.model.Params(), l.opt, nil))
	before, err := os.ReadFile(path)
	must(t, err)
	released := newLoop(t, dev, ops.F32, 8)
	released.opt.Release()
	more := ops.NewParams(dev, ops.F32)
	more.Add("more", 4)
	must(t, more.Alloc())
	defer more.Release()
	both, err := optim.New(nil, l.model.Params(), more)
	must(t, err)
	defer both.Release()
	load := func(params *ops.Params, opt *optim.Optimizer) error {
		_, err := train.Load(ctx, path, params, opt)
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{load(wider.model.Params(), wider.opt), `tensor "bigram.table" is F32[8 8], want F32[12 12]`},
		{load(other.model.Params(), other.opt), `tensor "bigram.table" is F32[8 8], want BF16[8 8]`},
		{load(l.model.Params(), wider.opt), "one of other parameters"},
		{train.Save(ctx, path, l.model.Params(), both, nil), "the optimizer has 2 sets of parameters, want one"},
		{load(released.model.Params(), released.opt), "was released"},
		{load(nil, nil), "call Alloc first"},
		{load(ops.NewParams(dev, ops.F32), nil), "call Alloc first"},
		{train.Save(ctx, path, nil, nil, nil), "call Alloc first"},
		{train.Save(ctx, path, l.model.Params(), wider.opt, nil), "one of other parameters"},
		{train.Save(ctx, path, l.model.Params(), l.opt, map[string]string{"optimizer": "x"}), `metadata "optimizer" is reserved`},
	} {
		mustFail(t, c.err, c.want)
	}
	loss := l.run(t, 3, 4)
	must(t, load(l.model.Params(), l.opt))
	if again := l.run(t, 3, 4); again[0] != loss[0] {
		t.Errorf("loss %x after loads that failed and one that did not, want %x", again, loss)
	}
	table := l.model.Params().All()[0]
	values := make([]float32, table.Len())
	values[11] = float32(math.Inf(-1))
	must(t, ops.Upload(ctx, table, values))
	mustFail(t, train.Save(ctx, path, l.model.Params(), l.opt, nil), `parameter "bigram.table" is not finite at [1 3]`)
	after, err := os.ReadFile(path)
	must(t, err)
	if !slices.Equal(before, after) {
		t.Error("a save that failed changed the file")
	}
	// Foreign, damaged and of a later version.
	for name, data := range map[string][]byte{"no checksum": []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), "damaged": append(slices.Clone(before[:len(before)-1]), before[len(before)-1]^1)} {
		bad := filepath.Join(dir, "bad.safetensors")
		must(t, os.WriteFile(bad, data, 0o644))
		_, err := train.Load(ctx, bad, l.model.Params(), l.opt)
		mustFail(t, err, name)
	}
	later := filepath.Join(dir, "later.safetensors")
	must(t, safetensors.Save(later, map[string]string{"format": "lemnos-9", "optimizer": "{}"}, nil))
	_, err = train.Load(ctx, later, l.model.Params(), l.opt)
	mustFail(t, err, `format is "lemnos-9", this version reads "lemnos-1"`)
	if names, err := os.ReadDir(dir); err != nil || len(names) != 3 {
		t.Errorf("%d files in the folder (%v), want no temporary one", len(names), err)
	}
}

func mustFail(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// Parameters that are loaded without the optimizer that exists for them are what
// training goes on from, in every storage type.
func TestSpec6LoadUnderAnOptimizer(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		first := newLoop(t, dev, dt, 8)
		first.run(t, 0, 40)
		must(t, train.Save(ctx, path, first.model.Params(), nil, nil))
		table := first.model.Params().All()[0]
		want := make([]float32, table.Len())
		must(t, ops.Download(ctx, table, want))

		second := newLoop(t, dev, dt, 8)
		second.run(t, 0, 2)
		_, err := train.Load(ctx, path, second.model.Params(), nil)
		must(t, err)
		second.opt.SetLR(0) // the next step leaves what it finds
		second.run(t, 2, 3)
		got := make([]float32, table.Len())
		must(t, ops.Download(ctx, second.model.Params().All()[0], got))
		if !slices.Equal(got, want) || slices.Max(got) == 0 {
			t.Errorf("%s: a step without a rate turns the loaded %v into %v", dt, want, got)
		}
		must(t, train.Save(ctx, path, second.model.Params(), second.opt, nil))
	}
}

// Passes that are added up are not saved, and dropped by Load.
func TestSpec6SaveBetweenPassAndUpdate(t *testing.T) {
	dev := vktest.Open(t)
	path := filepath.Join(t.TempDir(), "state.safetensors")
	m, err := nn.NewBigram(dev, ops.F32, 8)
	must(t, err)
	t.Cleanup(m.Params().Release)
	opt, err := optim.NewAdamW(m.Params(), &optim.Options{Accumulate: true})
	must(t, err)
	t.Cleanup(opt.Release)
	g, h := ops.NewGraph(dev), ops.NewGraph(dev)
	x := g.Input("x", ops.I32, 1, 4)
	g.Backward(m.Loss(g, x, x), nil)
	update := opt.Record(h)
	pass, err := g.Compile()
	must(t, err)
	t.Cleanup(func() { pass.Close() })
	apply, err := h.Compile()
	must(t, err)
	t.Cleanup(func() { apply.Close() })
	must(t, ops.Upload(ctx, x, []int32{1, 2, 3, 4}))
	must(t, train.Save(ctx, path, m.Params(), opt, nil))
	norm := func() float64 {
		must(t, pass.Run())
		mustFail(t, train.Save(ctx, path, m.Params(), opt, nil), "the gradients of 1 backward passes wait for their update")
		must(t, update.Stage(apply))
		must(t, apply.Run())
		v, err := update.Norm(ctx)
		must(t, err)
		return v
	}
	want := norm()
	_, err = train.Load(ctx, path, m.Params(), opt)
	must(t, err)
	must(t, pass.Run())
	_, err = train.Load(ctx, path, m.Params(), opt)
	must(t, err)
	if got := norm(); got != want || got == 0 {
		t.Errorf("the norm after a load between pass and update is %v, want %v", got, want)
	}
}
