package ops_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// bigram is a training step without optimizer: batch, embedding, loss, gradient.
func bigram(t *testing.T, g *ops.Graph, p *ops.Params) (at, loss *ops.Tensor) {
	t.Helper()
	const v = 50
	e := p.Add("table", v, v)
	if err := errors.Join(p.Alloc(), ops.Upload(ctx, e, random(ops.F32, 92, v*v))); err != nil {
		t.Fatal(err)
	}
	text := make([]uint16, 999)
	for i, id := range opstest.IDs(93, len(text), v) {
		text[i] = uint16(id)
	}
	x, y, at := g.Batch(tensor(t, g.Device(), ops.U16, []int{len(text)}, text), 4, 16, 3)
	loss = g.CrossEntropy(g.Embed(e, x), y, nil)
	g.Backward(loss, nil)
	g.Output(loss)
	return at, loss
}

// A replayed step is one submission, no allocation, no wait, and the same bits
// for the same inputs.
func TestReplay(t *testing.T) {
	dev := vktest.Open(t)
	p := ops.NewParams(dev, ops.F32)
	g := ops.NewGraph(dev)
	at, loss := bigram(t, g, p)
	t.Cleanup(p.Release)
	s := compile(t, g)
	// ids twice and batch, gather, loss with gradient, mean; zeros, links, scatter.
	if st := s.Stats(); st.Submissions != 1 || st.Dispatches != 9 || st.Barriers >= st.Dispatches || st.ArenaBytes == 0 || st.IOBytes == 0 {
		t.Errorf("%+v", st)
	}
	before := dev.Stats()
	const runs = 20
	var k uint32
	step := func() {
		k++
		if err := ops.Upload(ctx, at, []uint32{k, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
	}
	for range runs {
		step()
	}
	after := dev.Stats()
	if got := after.Submissions - before.Submissions; got != runs {
		t.Errorf("%d submissions in %d runs", got, runs)
	}
	after.Submissions = before.Submissions
	if after != before {
		t.Errorf("a run changes the device's objects: %+v, before %+v", after, before)
	}
	if s.Runs() != runs {
		t.Errorf("Runs is %d, want %d", s.Runs(), runs)
	}
	if n := vktest.AllocsPerRun(runs, step); n != 0 {
		t.Errorf("a run allocates %v times, want 0", n)
	}

	replay := func() (float32, []float32) {
		if err := errors.Join(ops.Upload(ctx, at, []uint32{5, 0, 0, 0}), s.Run()); err != nil {
			t.Fatal(err)
		}
		l, err := ops.Item(ctx, loss)
		if err != nil {
			t.Fatal(err)
		}
		return l, values(t, p.Grad(p.ByName("table")))
	}
	l, grad := replay()
	for range 3 {
		l2, grad2 := replay()
		if l2 != l {
			t.Errorf("loss %v, was %v", l2, l)
		}
		opstest.Close(t, grad2, grad, 0)
	}
}

// Runs in flight have each their own inputs and outputs.
func TestRingOfInputsAndOutputs(t *testing.T) {
	dev := vktest.Open(t)
	sum := tensor[float32](t, dev, ops.F32, []int{4}, nil)
	g := ops.NewGraph(dev)
	x, once := g.Input("x", ops.F32, 4), g.Input("once", ops.U16, 3)
	y := g.Scale(x, 10)
	g.Output(y)
	g.Output(once)
	g.AddTo(y, sum)
	if err := ops.Upload(ctx, once, []uint16{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	s := compile(t, g)
	got := make([]float32, 4)
	if n, err := ops.Completed(s, y, got); n != 0 || err != nil {
		t.Errorf("before the first run: completed %d (%v), want 0", n, err)
	}
	if err := s.Wait(ctx); err != nil {
		t.Errorf("waiting for nothing: %v", err)
	}
	var last int64
	const runs = 50
	for i := 1; i <= runs; i++ {
		if err := ops.Upload(ctx, x, []float32{float32(i), 0, 1, -1}); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := s.Ready(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		n, err := ops.Completed(s, y, got)
		if err != nil || n < last || n > int64(i) {
			t.Fatalf("completed run %d after %d of %d (%v)", n, last, i, err)
		}
		if last = n; n > 0 && got[0] != float32(10*n) {
			t.Fatalf("run %d left %v, want %d first", n, got, 10*n)
		}
	}
	opstest.Close(t, values(t, y), []float32{10 * runs, 0, 10, -10}, 0)
	if n, err := ops.Completed(s, y, got); n != runs || err != nil {
		t.Errorf("completed %d (%v), want %d", n, err, runs)
	}
	opstest.Close(t, values(t, sum), []float32{10 * runs * (runs + 1) / 2, 0, 10 * runs, -10 * runs}, 0)
	ids := make([]uint16, 3)
	if err := ops.Download(ctx, once, ids); err != nil || fmt.Sprint(ids) != "[1 2 3]" {
		t.Errorf("an input staged before Compile reads %v (%v)", ids, err)
	}
}

func TestStepAfterClose(t *testing.T) {
	dev := vktest.Open(t)
	before := dev.Stats()
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 4)
	y := g.Scale(g.Scale(x, 2), 2)
	g.Output(y)
	if err := ops.Upload(ctx, x, []float32{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	s := run(t, g)
	if dev.Stats().Buffers <= before.Buffers {
		t.Fatal("a step without buffers")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	opstest.Close(t, values(t, y), []float32{4, 8, 12, 16}, 0)
	if n, err := ops.Completed(s, y, make([]float32, 4)); n != 1 || err != nil {
		t.Errorf("completed %d (%v), want 1", n, err)
	}
	if err := s.Run(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Run of a closed step: %v", err)
	}
	if err := s.Wait(ctx); err != nil {
		t.Errorf("Wait of a closed step: %v", err)
	}
	if err := ops.Download(ctx, x, make([]float32, 4)); err == nil {
		t.Error("an input of a closed step can be downloaded")
	}
	if got := dev.Stats().Buffers; got != before.Buffers {
		t.Errorf("%d buffers after Close, %d before the graph", got, before.Buffers)
	}
	s.Stats()
}

// What fails to compile, and what ran immediately, gives its memory back.
func TestGraphsReleaseTheirMemory(t *testing.T) {
	dev := vktest.Open(t)
	x := tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4})
	opstest.Close(t, values(t, x), []float32{1, 2, 3, 4}, 0) // a device that downloads through a staging buffer has it now
	before := dev.Stats().Buffers
	for _, spoil := range []func(g *ops.Graph){
		func(g *ops.Graph) { g.Add(x, nil) },
		func(g *ops.Graph) { g.Output(g.Scale(g.New(ops.F32, 4), 1)) },
		func(g *ops.Graph) {
			g.Output(g.Scale(g.Input("in", ops.F32, 4), 1))
			g.Dispatch("mine", ops.Call{Kernel: "copy", Threads: 1, Push: struct{ A, B uint32 }{}, Args: []*ops.Tensor{x, x}})
		},
	} {
		g := ops.NewGraph(dev)
		spoil(g)
		if _, err := g.Compile(); err == nil {
			t.Error("no error")
		}
	}
	g := ops.NewImmediate(dev)
	y := g.Add(g.Scale(x, 2), x)
	opstest.Close(t, values(t, y), []float32{3, 6, 9, 12}, 0)
	g.Release()
	if err := ops.Download(ctx, y, make([]float32, 4)); err == nil {
		t.Error("a result of a released graph can be downloaded")
	}
	if got := dev.Stats().Buffers; got != before {
		t.Errorf("%d buffers, want %d as before", got, before)
	}
}

func TestImmediateInput(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewImmediate(dev)
	defer g.Release()
	x := g.Input("x", ops.F16, 3)
	if err := ops.Upload(ctx, x, []float32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	y := g.Scale(x, 2)
	g.Output(y)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	opstest.Close(t, values(t, y), []float32{2, 4, 6}, 0)
}

func TestProfile(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	y := g.Add(g.Scale(tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4}), 2), tensor[float32](t, dev, ops.F32, []int{4}, nil))
	g.Output(y)
	s := compile(t, g)
	times, err := s.Profile(ctx)
	if dev.Info().Caps.TimestampPeriod == 0 {
		if err == nil {
			t.Error("no error on a device without time stamps")
		}
		return
	}
	if err != nil || len(times) != 2 || times[0].Kernel != "scale.f32" || times[1].Op != "add" || times[0].Nanos < 0 || times[1].Nanos < 0 {
		t.Errorf("times %+v (%v), want scale.f32 and add", times, err)
	}
	opstest.Close(t, values(t, y), []float32{2, 4, 6, 8}, 0)
}

func TestWaitHonorsContext(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	y := g.Scale(tensor[float32](t, dev, ops.F32, []int{1 << 20}, nil), 2)
	g.Output(y)
	s := compile(t, g)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Wait(done); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if err := s.Wait(ctx); err != nil {
		t.Error(err)
	}
}
