package train_test

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/vk"
)

// call is one use of something that may be closed. After the device was closed it must return an error, where it
// needs the device; in no case may it panic.
type call struct {
	name  string
	needs bool // the device
	f     func() error
}

// everything has one of each kind of object on a device, and uses of them.
type everything struct {
	dev    *vk.Device
	calls  []call
	closes []call
}

func (e *everything) use(name string, needs bool, f func() error) {
	e.calls = append(e.calls, call{name, needs, f})
}

func (e *everything) close(name string, f func() error) {
	e.closes = append(e.closes, call{name, false, f})
}

func quiet(f func()) func() error { return func() error { f(); return nil } }

func newEverything(t *testing.T) *everything {
	dev := vktest.Open(t)
	e := &everything{dev: dev}
	e.close("Device.Close", dev.Close)
	e.addDevice(t)
	e.addStep(t)
	e.addTrainer(t)
	return e
}

func (e *everything) addDevice(t *testing.T) {
	dev := e.dev
	b, err := dev.NewBuffer(1024)
	must(t, err)
	host, err := dev.NewHostBuffer(1024)
	must(t, err)
	p, open := dev.NewProgram(), dev.NewProgram()
	p.Fill(b.Span(0, 1024), 1)
	p.Copy(host.Span(0, 1024), b.Span(0, 1024))
	must(t, p.End())
	ticket, err := dev.Submit(p)
	must(t, err)
	data := make([]byte, 4)
	e.use("Device.NewBuffer", true, func() error { _, err := dev.NewBuffer(4); return err })
	e.use("Device.NewHostBuffer", true, func() error { _, err := dev.NewHostBuffer(4); return err })
	e.use("Device.Kernel", true, func() error { _, err := dev.Kernel("x", nil, nil); return err })
	e.use("Device.Compile", true, func() error { return dev.Compile(ctx, nil) })
	e.use("Device.Submit", true, func() error { _, err := dev.Submit(p); return err })
	e.use("Device.Submit of nothing", true, func() error { _, err := dev.Submit(); return err })
	e.use("Device.Wait", true, func() error { return dev.Wait(ctx) })
	e.use("Device.WaitTicket", true, func() error { return dev.WaitTicket(ctx, ticket) })
	e.use("Device.NewProgram", true, func() error { return dev.NewProgram().End() })
	e.use("Device.Done, Info, Stats, Kernels", false, quiet(func() { dev.Done(ticket); dev.Info(); dev.Stats(); dev.Kernels() }))
	e.use("Buffer.Upload", true, func() error { return b.Upload(ctx, 0, data) })
	e.use("Buffer.Download", true, func() error { return b.Download(ctx, 0, data) })
	e.use("Buffer.Bytes", false, quiet(func() { clear(host.Bytes()); clear(b.Bytes()); b.Size() }))
	e.use("Program.Fill", false, quiet(func() { open.Fill(b.Span(0, 4), 1); open.Copy(b.Span(0, 4), host.Span(0, 4)); open.Timestamp() }))
	e.use("Program.End", true, func() error { return open.End() })
	e.use("Program.Settle, Stats, Err", false, quiet(func() { p.Settle(ctx); p.Stats(); p.Err() }))
	e.use("Program.Times", true, func() error { _, err := p.Times(ctx); return err })
	e.close("Buffer.Release", quiet(b.Release))
	e.close("host Buffer.Release", quiet(host.Release))
	e.close("Program.Release", quiet(p.Release))
	e.close("unfinished Program.Release", quiet(open.Release))
}

func (e *everything) addStep(t *testing.T) {
	dev := e.dev
	p := ops.NewParams(dev, ops.BF16)
	w := p.Add("w", 8, 8)
	must(t, p.Alloc())
	opt, err := optim.NewAdamW(p, nil)
	must(t, err)
	own, err := ops.NewTensor(dev, ops.F32, 4)
	must(t, err)
	reserved, err := ops.Reserve(dev, ops.F32, 4)
	must(t, err)
	late := ops.NewParams(dev, ops.F32)
	late.Add("w", 4)
	now := ops.NewImmediate(dev)
	kept := now.Scale(own, 2)
	must(t, now.Err())
	unbuilt := ops.NewGraph(dev)
	unbuilt.Output(unbuilt.Scale(unbuilt.Input("x", ops.F32, 4), 2))

	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.BF16, 4, 8), g.Input("y", ops.I32, 4)
	loss := g.CrossEntropy(g.Linear(x, w, nil), y, nil)
	g.Backward(loss, nil)
	update := opt.Record(g)
	g.Output(loss)
	step, err := g.Compile()
	must(t, err)
	must(t, ops.Upload(ctx, x, make([]float32, 4*8)))
	must(t, ops.Upload(ctx, y, make([]int32, 4)))
	must(t, update.Stage(step))
	must(t, step.Run())

	item := func(x *ops.Tensor) func() error {
		return func() error { return ops.Download(ctx, x, make([]float32, x.Len())) }
	}
	e.use("NewTensor", true, func() error { _, err := ops.NewTensor(dev, ops.F32, 4); return err })
	e.use("Reserve", false, func() error { _, err := ops.Reserve(dev, ops.F32, 4); return err })
	e.use("Upload", true, func() error { return ops.Upload(ctx, own, make([]float32, 4)) })
	e.use("Upload to reserved", true, func() error { return ops.Upload(ctx, reserved, make([]float32, 4)) })
	e.use("Upload of an input", false, quiet(func() { ops.Upload(ctx, y, make([]int32, 4)) }))
	e.use("Download", true, item(own))
	e.use("Download of a parameter", true, item(w))
	e.use("Download of a gradient", true, item(p.Grad(w)))
	e.use("Download of a kept value", true, item(kept))
	e.use("Download of an output", false, quiet(func() { item(loss)() }))
	e.use("Completed", false, quiet(func() { ops.Completed(step, loss, make([]float32, 1)) }))
	e.use("NewGraph", true, func() error { return ops.NewGraph(dev).Err() })
	e.use("an operation of NewImmediate", true, func() error { g := ops.NewImmediate(dev); defer g.Release(); g.Scale(own, 2); return g.Err() })
	e.use("immediate Graph.Scale", true, func() error { now.Scale(own, 3); return now.Err() })
	e.use("Graph.Plan", false, quiet(func() { unbuilt.Plan() }))
	e.use("Graph.Compile", true, func() error { _, err := unbuilt.Compile(); return err })
	e.use("Params.Alloc", true, late.Alloc)
	e.use("Params", false, quiet(func() {
		p.Alloc()
		p.All()
		p.Banks()
		p.Grad(w)
		p.ByName("w")
		w.Allocated()
		w.Bytes()
	}))
	e.use("Step.Run", true, func() error { update.Stage(step); return step.Run() })
	e.use("Step.Ready, Wait", false, quiet(func() { step.Ready(ctx); step.Wait(ctx) }))
	e.use("Step.Profile", true, func() error { _, err := step.Profile(ctx); return err })
	e.use("Step.Stats", false, quiet(func() { step.Stats(); step.Runs() }))
	e.use("Update.Stage", true, func() error { return update.Stage(step) })
	e.use("Update.Norm", false, quiet(func() { update.Norm(ctx); update.Skipped(ctx) }))
	e.use("NewAdamW", true, func() error { _, err := optim.NewAdamW(p, nil); return err })
	e.use("Optimizer.State", true, func() error { _, err := opt.State(ctx); return err })
	e.use("Optimizer.SetState", true, func() error { return opt.SetState(ctx, optim.State{Scale: 1}) })
	e.use("Optimizer.Record", true, func() error { g := ops.NewGraph(dev); defer g.Release(); opt.Record(g); return g.Err() })
	e.use("Optimizer", false, quiet(func() {
		opt.Bytes()
		opt.Groups()
		opt.SetLR(1)
		opt.Slots(w)
		opt.Master(w)
		opt.Sets()
		opt.Released()
	}))
	e.use("ClipGradNorm", true, func() error { _, err := optim.ClipGradNorm(ctx, p, 1); return err })
	e.close("Step.Close", step.Close)
	e.close("Optimizer.Release", quiet(opt.Release))
	e.close("Params.Release", quiet(p.Release))
	e.close("late Params.Release", quiet(late.Release))
	e.close("Tensor.Release", quiet(func() { own.Release(); reserved.Release(); kept.Release() }))
	e.close("immediate Graph.Release", quiet(now.Release))
	e.close("Graph.Release", quiet(unbuilt.Release))
}

func (e *everything) addTrainer(t *testing.T) {
	dev := e.dev
	c := smallRun(t, t.TempDir())
	c.Model, c.Layers, c.Heads, c.Width, c.FFN, c.BatchSize, c.ContextLen = "transformer", 1, 2, 16, 32, 2, 16
	c.GradAccum = 2
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	model, err := train.NewModel(dev, c)
	must(t, err)
	m := model.(*nn.Transformer)
	tr, err := train.NewTrainer(dev, c, m, data.Train)
	must(t, err)
	must(t, tr.Step())
	snapshot, err := tr.Snapshot(ctx)
	must(t, err)
	path, err := snapshot.Save(c.Dir(), 0)
	must(t, err)
	eval, err := train.NewEvaluator(dev, c, m, data.Val)
	must(t, err)
	d, err := m.NewDecoder(8)
	must(t, err)
	_, err = d.Next(ctx, []int32{1, 2})
	must(t, err)

	e.use("NewModel", true, func() error { _, err := train.NewModel(dev, c); return err })
	e.use("OpenModel", true, func() error { _, _, err := train.OpenModel(ctx, dev, path, ops.F32); return err })
	e.use("NewTrainer", true, func() error { _, err := train.NewTrainer(dev, c, m, data.Train); return err })
	e.use("NewEvaluator", true, func() error { _, err := train.NewEvaluator(dev, c, m, data.Val); return err })
	e.use("Run", true, func() error { return train.Run(ctx, dev, c, m, data, train.Hooks{}) })
	e.use("Trainer.Step", true, tr.Step)
	e.use("Trainer.Wait", true, func() error { return tr.Wait(ctx) })
	e.use("Trainer.Report", true, func() error { _, _, _, err := tr.Report(ctx); return err })
	e.use("Trainer.Snapshot", true, func() error { _, err := tr.Snapshot(ctx); return err })
	e.use("Trainer.Restore", true, func() error { return tr.Restore(ctx, path) })
	e.use("Trainer.StartFrom", true, func() error { return tr.StartFrom(ctx, path) })
	e.use("Trainer.ImportTorch", true, func() error { return tr.ImportTorch(ctx, path) })
	e.use("Trainer.CheckFinite", true, func() error { return tr.CheckFinite(ctx) })
	e.use("Trainer.Skipped", true, func() error { _, err := tr.Skipped(ctx); return err })
	e.use("Trainer.Iteration, Optimizer", false, quiet(func() { tr.Iteration(); tr.Optimizer() }))
	e.use("Evaluator.Loss", true, func() error { _, err := eval.Loss(ctx); return err })
	e.use("Evaluator.Windows", false, quiet(func() { eval.Windows(); eval.UnigramEntropy(ctx, data.Train, c.Vocab) }))
	e.use("ExportHuggingFace", true, func() error { return hf.Export(ctx, t.TempDir(), m.Config(), m.Params()) })
	e.use("NewDecoder", true, func() error { _, err := m.NewDecoder(8); return err })
	e.use("Decoder.Next", true, func() error { d.Reset(); _, err := d.Next(ctx, []int32{1}); return err })
	e.use("nn.Generate", true, func() error {
		return nn.Generate(ctx, d, &nn.Sampler{}, []int32{1}, 2, func(int32) error { return nil })
	})
	e.use("Decoder.Len", false, quiet(func() { d.Len(); d.Cap(); d.Vocab(); d.Step(); d.Reset() }))
	e.use("NewTransformer", true, func() error { _, err := nn.NewTransformer(dev, ops.F32, m.Config(), 1); return err })
	e.use("NewBigram", true, func() error { _, err := nn.NewBigram(dev, ops.F32, 8); return err })
	e.close("Trainer.Close", tr.Close)
	e.close("Evaluator.Close", eval.Close)
	e.close("Decoder.Close", d.Close)
	e.close("model Params.Release", quiet(m.Params().Release))
	e.close("Data.Close", data.Close)
}

// run turns a panic, and a look at memory that is gone, into a failure of the test.
func (c call) run(t *testing.T) (err error) {
	t.Helper()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v\n%s", c.name, p, debug.Stack())
		}
	}()
	return c.f()
}

// Once the device is closed every call that needs it returns an error, and closing the rest is harmless.
func TestCallsAfterDeviceClose(t *testing.T) {
	e := newEverything(t)
	must(t, e.dev.Close())
	for range 2 {
		for _, c := range e.calls {
			if err := c.run(t); err == nil && c.needs {
				t.Errorf("%s: no error without a device", c.name)
			}
		}
		for _, c := range e.closes {
			c.run(t)
		}
	}
}

// Whatever is closed in whatever order, once or twice, no call panics.
func TestClosesInAnyOrder(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			e := newEverything(t)
			rnd := rand.New(rand.NewPCG(seed, 1))
			rnd.Shuffle(len(e.closes), func(i, j int) { e.closes[i], e.closes[j] = e.closes[j], e.closes[i] })
			for _, c := range e.closes {
				c.run(t)
				c.run(t)
				for range 3 {
					e.calls[rnd.IntN(len(e.calls))].run(t)
				}
			}
			for _, c := range e.calls {
				c.run(t)
			}
			if left := e.dev.Stats(); left.Buffers != 0 || left.Allocations != 0 {
				t.Errorf("after Close there are %+v", left)
			}
		})
	}
}
