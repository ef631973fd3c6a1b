package ops_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// Memories that live at the same time never overlap, none lies in two buffers,
// no buffer is above the limit, and the arena lies between the most that lives
// at once and the sum of all. An arena below the limit is one buffer, the one
// that it would be without a limit.
func TestPlace(t *testing.T) {
	const align, unlimited = 64, 1 << 50
	var whole, split int64
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		lives := make([]ops.Life, 1+rnd.IntN(40))
		var sum, most, largest int64
		for i := range lives {
			first := rnd.IntN(30)
			lives[i] = ops.Life{Size: 16 * (1 + rnd.Int64N(1<<rnd.IntN(12))), First: first, Last: first + rnd.IntN(12)}
			sum += (lives[i].Size + align - 1) / align * align
			largest = max(largest, lives[i].Size)
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
		limit := largest + align + rnd.Int64N(4*largest)
		_, bases, one := ops.Place(lives, align, unlimited)
		checkPlaces(t, lives, make([]int, len(lives)), bases, one, align, unlimited)
		buffers, splitBases, sizes := ops.Place(lives, align, limit)
		checkPlaces(t, lives, buffers, splitBases, sizes, align, limit)
		total := total(sizes)
		if one[0] < most || one[0] > sum || total < most || total > sum {
			t.Fatalf("seed %d: an arena of %d bytes, of %d in buffers of %d, want %d to %d", seed, one, total, sizes, most, sum)
		}
		if one[0] <= limit/align*align && (!slices.Equal(sizes, one) || !slices.Equal(splitBases, bases)) {
			t.Fatalf("seed %d: buffers of %d where one of %d is below the limit of %d", seed, sizes, one, limit)
		}
		// What a buffer can leave unused at its end is less than the memory that did not fit there.
		if total > one[0]+int64(len(sizes)-1)*largest {
			t.Errorf("seed %d: buffers of %d bytes for an arena of %d, the largest memory has %d", seed, sizes, one, largest)
		}
		whole, split = whole+one[0], split+total
	}
	if split > whole*101/100 {
		t.Errorf("%d bytes in buffers for %d in one", split, whole)
	}
}

func total(sizes []int64) (n int64) {
	for _, s := range sizes {
		n += s
	}
	return n
}

func checkPlaces(t *testing.T, lives []ops.Life, buffers []int, bases, sizes []int64, align, limit int64) {
	t.Helper()
	for _, n := range sizes {
		if n <= 0 || n > limit {
			t.Fatalf("buffers of %d bytes, the limit is %d", sizes, limit)
		}
	}
	for i, a := range lives {
		if bases[i] < 0 || bases[i]%align != 0 || bases[i]+a.Size > sizes[buffers[i]] {
			t.Fatalf("memory %d of %d bytes at %d in a buffer of %d", i, a.Size, bases[i], sizes[buffers[i]])
		}
		for j, b := range lives[:i] {
			if buffers[i] == buffers[j] && a.First <= b.Last && b.First <= a.Last && bases[i] < bases[j]+b.Size && bases[j] < bases[i]+a.Size {
				t.Fatalf("memories %+v at %d and %+v at %d overlap in buffer %d", a, bases[i], b, bases[j], buffers[i])
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
