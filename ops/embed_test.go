package ops_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// embedBackward returns the gradient of a table (v, d) whose gathered rows have
// the gradient dy; the gradient was old before.
func embedBackward(t testing.TB, dev *vk.Device, dt ops.DType, dy []float32, ids []int32, v, d int, old float32, accumulate bool, tune ...func(*ops.Graph)) []float32 {
	t.Helper()
	p := ops.NewParams(dev, dt)
	table := p.Add("table", v, d)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	g := ops.NewGraph(dev)
	for _, tune := range tune {
		tune(g)
	}
	y := g.Embed(table, tensor(t, dev, ops.I32, []int{len(ids)}, ids))
	g.Fill(p.Grad(table), old)
	ops.BackwardFrom(g, y, tensor(t, dev, dt, []int{len(ids), d}, dy), accumulate)
	run(t, g)
	return values(t, p.Grad(table))
}

func TestEmbedAgreesWithPyTorch(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range opstest.EmbeddingCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			dt := dtype(c.DType)
			got := embedBackward(t, dev, dt, c.DY(), c.IDs(), c.V, c.D, 5, false)
			tol := 1e-6
			if dt != ops.F32 {
				tol = opstest.Epsilon(c.DType) * 1.01
			}
			opstest.CheckL2(t, "d table", got, c.DE, tol)
			// Rounded once: the f32 sums of the same values, rounded.
			opstest.Close(t, got, opstest.Round(c.DType, embedBackward(t, dev, ops.F32, c.DY(), c.IDs(), c.V, c.D, 5, false)), 0)
		})
	}
}

func TestEmbedBackwardAccumulates(t *testing.T) {
	dev := vktest.Open(t)
	const v, d, n = 6, 7, 50
	for _, dt := range floats {
		dy, ids := opstest.Round(dt.String(), opstest.Uniform(40, n*d, 1)), opstest.IDs(41, n, v)
		want := opstest.EmbedBackward64(dy, ids, v, d)
		for i := range want {
			want[i] += 3
		}
		opstest.Close(t, embedBackward(t, dev, dt, dy, ids, v, d, 3, true), want, tolerance(dt))
	}
}

// Rows wider than a workgroup, ids that come up thousands of times, and more often than a loop of lavapipe turns.
func TestEmbedWideAndLong(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct{ v, d, n int }{{3, 1501, 40}, {2, 3, 20000}, {70, 33, 9000}, {1, 3, 70000}} {
		dy, ids := opstest.Uniform(42, c.n*c.d, 1), opstest.IDs(43, c.n, c.v)
		want := opstest.EmbedBackward64(dy, ids, c.v, c.d)
		if e := opstest.RelL2(embedBackward(t, dev, ops.F32, dy, ids, c.v, c.d, 0, false), want); e > 1e-6 {
			t.Errorf("%+v: off by %.2g", c, e)
		}
	}
}

// Positions in several parts: each adds to what the others wrote.
func TestEmbedBackwardInParts(t *testing.T) {
	dev := vktest.Open(t)
	const v, d, n = 9, 7, 100
	dy, ids := opstest.Uniform(45, n*d, 1), opstest.IDs(46, n, v)
	for _, old := range []float32{0, 3} {
		want := opstest.EmbedBackward64(dy, ids, v, d)
		for i := range want {
			want[i] += float64(old)
		}
		for _, tune := range []func(*ops.Graph){nil, ops.TuneGPU} {
			got := embedBackward(t, dev, ops.F32, dy, ids, v, d, old, old != 0, func(g *ops.Graph) {
				if tune != nil {
					tune(g)
				}
				ops.LimitTurns(g, 33)
			})
			opstest.Close(t, got, want, 1e-6)
		}
	}
}

func TestEmbedGathers(t *testing.T) {
	dev := vktest.Open(t)
	const v = 9
	for _, dt := range floats {
		for _, d := range []int{1, 4, 7, 130} {
			for _, ids := range []*ops.Tensor{
				tensor(t, dev, ops.I32, []int{2, 3}, []int32{8, 0, 3, 3, 1, 7}),
				tensor(t, dev, ops.U32, []int{2, 3}, []uint32{8, 0, 3, 3, 1, 7}),
				tensor(t, dev, ops.U16, []int{2, 3}, []uint16{8, 0, 3, 3, 1, 7}),
			} {
				t.Run(fmt.Sprint(dt, d, ids), func(t *testing.T) {
					table := opstest.Round(dt.String(), opstest.Uniform(44, v*d, 2))
					g := ops.NewGraph(dev)
					y := g.Embed(tensor(t, dev, dt, []int{v, d}, table), ids)
					g.Output(y)
					run(t, g)
					if got, want := fmt.Sprint(y.Shape()), fmt.Sprint([]int{2, 3, d}); got != want {
						t.Errorf("shape %s, want %s", got, want)
					}
					opstest.Close(t, values(t, y), opstest.Embed64(table, []int32{8, 0, 3, 3, 1, 7}, d), 0)
				})
			}
		}
	}
}

func TestEmbedBadIDs(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	ids := g.Input("ids", ops.U16, 3)
	y := g.Embed(tensor(t, dev, ops.F32, []int{5, 2}, make([]float32, 10)), ids)
	g.Output(y)
	s := compile(t, g)
	if err := errors.Join(ops.Upload(ctx, ids, []uint16{4, 5, 65535}), s.Run()); err != nil {
		t.Fatal(err)
	}
	err := s.Wait(ctx)
	var bad *ops.BadIndexError
	if !errors.As(err, &bad) || bad.Op != "embed" || bad.Position != 1 || bad.Value != 5 || bad.Limit != 5 {
		t.Errorf("error %v, want index 5 at position 1 of embed", err)
	}
	for _, c := range []func(g *ops.Graph){
		func(g *ops.Graph) { g.Embed(g.Input("e", ops.F32, 5), g.Input("i", ops.I32, 2)) },
		func(g *ops.Graph) { g.Embed(g.Input("e", ops.F32, 5, 2), g.Input("i", ops.F32, 2)) },
		func(g *ops.Graph) { g.Embed(g.Input("e", ops.I32, 5, 2), g.Input("i", ops.I32, 2)) },
		func(g *ops.Graph) { g.Embed(nil, g.Input("i", ops.I32, 2)) },
	} {
		g := ops.NewGraph(dev)
		c(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), "ops: embed: ") || !strings.Contains(err.Error(), "embed_test.go:") {
			t.Errorf("error %v, want one of embed at this file", err)
		}
		g.Release()
	}
}
