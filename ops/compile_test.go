package ops_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/ops/opstest"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// Memories that live at the same time never overlap, and the arena lies between
// the most that lives at once and the sum of all.
func TestPlace(t *testing.T) {
	const align = 64
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		lives := make([]ops.Life, 1+rnd.IntN(40))
		var sum, most int64
		for i := range lives {
			first := rnd.IntN(30)
			lives[i] = ops.Life{Size: 16 * (1 + rnd.Int64N(1<<rnd.IntN(12))), First: first, Last: first + rnd.IntN(12)}
			sum += (lives[i].Size + align - 1) / align * align
		}
		for at := range 45 {
			var live int64
			for _, l := range lives {
				if l.First <= at && at <= l.Last {
					live += l.Size
				}
			}
			most = max(most, live)
		}
		bases, total := ops.Place(lives, align)
		if total < most || total > sum {
			t.Fatalf("seed %d: arena of %d bytes, want %d to %d", seed, total, most, sum)
		}
		for i, a := range lives {
			if bases[i] < 0 || bases[i]%align != 0 || bases[i]+a.Size > total {
				t.Fatalf("seed %d: memory %d of %d bytes at %d in an arena of %d", seed, i, a.Size, bases[i], total)
			}
			for j, b := range lives[:i] {
				if a.First <= b.Last && b.First <= a.Last && bases[i] < bases[j]+b.Size && bases[j] < bases[i]+a.Size {
					t.Fatalf("seed %d: memories %+v at %d and %+v at %d overlap", seed, a, bases[i], b, bases[j])
				}
			}
		}
	}
}

// A chain needs two places, however long it is.
func TestCompileReusesMemory(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 1000)
	y := x
	for range 10 {
		y = g.Scale(y, 2)
	}
	g.Output(y)
	if err := ops.Upload(ctx, x, random(ops.F32, 91, 1000)); err != nil {
		t.Fatal(err)
	}
	s := run(t, g)
	want := random(ops.F32, 91, 1000)
	for i := range want {
		want[i] *= 1024
	}
	opstest.Close(t, values(t, y), want, 0)
	if st := s.Stats(); st.TotalBytes != 40000 || st.ArenaBytes > 8000+256 {
		t.Errorf("%+v, want 40000 bytes in at most 8256", st)
	}
}

func TestCompileDropsDeadCode(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 8)
	unused := g.Add(g.Scale(x, 2), x)
	y := g.Scale(x, 3)
	g.Output(y)
	s := compile(t, g)
	if n := s.Stats().Dispatches; n != 1 {
		t.Errorf("%d dispatches, want the one that the output needs", n)
	}
	if err := ops.Download(ctx, unused, make([]float32, 8)); err == nil {
		t.Error("a dropped value can be downloaded")
	}
}

func TestCompileErrors(t *testing.T) {
	dev := vktest.Open(t)
	x := tensor[float32](t, dev, ops.F32, []int{8}, nil)
	n4 := struct{ N4 uint32 }{2}
	for _, c := range []struct {
		name string
		call func(g *ops.Graph)
		want string
	}{
		{"read before write", func(g *ops.Graph) { g.Output(g.Scale(g.New(ops.F32, 8), 2)) }, "scale: f32[8] is read before anything writes it"},
		{"no kernel", func(g *ops.Graph) {
			g.Dispatch("mine", ops.Call{Kernel: "no such", Threads: 1, Args: []*ops.Tensor{x}})
		}, "no such"},
		{"arguments", func(g *ops.Graph) {
			g.Dispatch("mine", ops.Call{Kernel: "copy", Threads: 2, Push: n4, Args: []*ops.Tensor{x}})
		}, "copy: 1 arguments for 2 bindings"},
		{"no threads", func(g *ops.Graph) {
			g.Dispatch("mine", ops.Call{Kernel: "copy", Push: n4, Args: []*ops.Tensor{x, x}})
		}, "no items, invocations or workgroups"},
		{"take-over", func(g *ops.Graph) {
			g.Dispatch("mine", ops.Call{Kernel: "copy", Threads: 2, Push: n4, Args: []*ops.Tensor{x, x}, TakeOver: [2]int{2, 0}})
		}, "take-over [2 0] of 2 arguments"},
		{"push", func(g *ops.Graph) {
			g.Dispatch("mine", ops.Call{Kernel: "copy", Threads: 2, Push: struct{ A, B uint32 }{}, Args: []*ops.Tensor{x, x}})
		}, "copy"},
		{"push of a kind without size", func(g *ops.Graph) {
			g.Dispatch("mine", ops.Call{Kernel: "copy", Threads: 2, Push: struct{ A string }{}, Args: []*ops.Tensor{x, x}})
		}, "push constants"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for kind, g := range map[string]*ops.Graph{"graph": ops.NewGraph(dev), "immediate": ops.NewImmediate(dev)} {
				if kind == "immediate" && c.name == "read before write" {
					g.Release()
					continue // memory of its own: zeros
				}
				c.call(g)
				err := g.Err()
				if kind == "graph" {
					_, err = g.Compile()
				}
				if err == nil || !strings.HasPrefix(err.Error(), "ops: ") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: error %v, want %q", kind, err, c.want)
				}
				g.Release()
			}
		})
	}
	g := ops.NewGraph(dev)
	g.Output(g.Scale(x, 2))
	compile(t, g)
	if _, err := g.Compile(); err == nil || !strings.Contains(err.Error(), "called twice") {
		t.Errorf("second Compile: %v", err)
	}
	if g.Scale(x, 3); g.Err() == nil || !strings.Contains(g.Err().Error(), "compiled already") {
		t.Errorf("operation after Compile: %v", g.Err())
	}
	im := ops.NewImmediate(dev)
	defer im.Release()
	if _, err := im.Compile(); err == nil || !strings.Contains(err.Error(), "has run already") {
		t.Errorf("Compile of an immediate graph: %v", err)
	}
}

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
	// ids and batch, gather, loss with gradient, mean, scatter.
	if st := s.Stats(); st.Submissions != 1 || st.Dispatches != 7 || st.Barriers >= st.Dispatches || st.ArenaBytes == 0 || st.IOBytes == 0 {
		t.Errorf("%+v", st)
	}
	before := dev.Stats()
	const runs = 20
	var k uint32
	if n := testing.AllocsPerRun(runs-1, func() { // one more to warm up
		k++
		if err := ops.Upload(ctx, at, []uint32{k, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a run allocates %v times, want 0", n)
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
	g.Dispatch("sum", ops.Call{Kernel: "add.f32", Threads: 1, Push: struct{ N4 uint32 }{1}, Args: []*ops.Tensor{sum, y, sum}})
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
	y := g.Add(g.Scale(tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4}), 2), g.Input("x", ops.F32, 4))
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
	y := g.Scale(g.Input("x", ops.F32, 1<<20), 2)
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
