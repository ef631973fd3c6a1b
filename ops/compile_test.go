package ops_test

import (
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
