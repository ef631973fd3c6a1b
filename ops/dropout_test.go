package ops_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// words are what Train reads for a state.
func words(s opstest.DropoutState) []uint32 {
	return []uint32{uint32(s.K), uint32(s.K >> 32), uint32(s.Seed), uint32(s.Seed >> 32)}
}

func TestDropoutEqualsReference(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		for _, shape := range [][]int{{}, {3, 7}, {2, 3, 5}, {9, 1000}} {
			for _, p := range []float64{0.1, 0.5, 0.99} {
				t.Run(fmt.Sprint(dt, shape, p), func(t *testing.T) {
					state := opstest.DropoutState{K: 5<<32 | 7, Seed: 0x123456789abcdef0}
					at := tensor(t, dev, ops.U32, []int{4}, words(state))
					rows, cols := 1, 1
					for _, n := range shape {
						rows, cols = rows*cols, n
					}
					x, dy := random(dt, 120, rows*cols), random(dt, 121, rows*cols)
					in := tensor(t, dev, dt, shape, x)
					g := ops.NewGraph(dev)
					g.Train(at)
					g.RequireGrad(in)
					y := g.Dropout(in, p)
					z := g.Dropout(y, p)
					g.Output(y)
					g.Output(z)
					ops.BackwardFrom(g, z, tensor(t, dev, dt, shape, dy), false)
					g.Output(g.Grad(in))
					run(t, g)
					round := func(x []float32) []float32 { return opstest.Round(dt.String(), x) }
					first := state.Keep(rows, cols, p)
					state.Number = 1
					second := state.Keep(rows, cols, p)
					want := round(opstest.Dropout(x, first, p))
					opstest.Close(t, values(t, y), want, 0)
					opstest.Close(t, values(t, z), round(opstest.Dropout(want, second, p)), 0)
					grad := round(opstest.Dropout(dy, second, p))
					opstest.Close(t, values(t, g.Grad(in)), round(opstest.Dropout(grad, first, p)), 0)
				})
			}
		}
	}
}

// Each step and each seed drop other values, a repeated step the same; what is dropped is 0 whatever it was.
func TestDropoutFollowsTheStep(t *testing.T) {
	dev := vktest.Open(t)
	const rows, cols, p = 3, 50, 0.25
	x := random(ops.F32, 122, rows*cols)
	for i := range x {
		if i%5 == 0 {
			x[i] = float32(math.Inf(1))
		}
	}
	g := ops.NewGraph(dev)
	at := g.Input("random", ops.U32, 4)
	g.Train(at)
	y := g.Dropout(tensor(t, dev, ops.F32, []int{rows, cols}, x), p)
	g.Output(y)
	s := compile(t, g)
	seen := map[string]bool{}
	for i, state := range []opstest.DropoutState{{K: 0, Seed: 1}, {K: 1, Seed: 1}, {K: 1, Seed: 2}, {K: 1 << 32, Seed: 1}, {K: 0, Seed: 1 << 32}, {K: 0, Seed: 1}} {
		if err := ops.Upload(ctx, at, words(state)); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		keep := state.Keep(rows, cols, p)
		opstest.Close(t, values(t, y), opstest.Dropout(x, keep, p), 0)
		if again := seen[fmt.Sprint(keep)]; again != (i == 5) {
			t.Errorf("%+v: drops what another step drops: %v", state, again)
		}
		seen[fmt.Sprint(keep)] = true
	}
}

// As many values stay as asked for, their mean is that of the input, and neither neighbors nor the four values of a group
// are dropped together.
func TestDropoutStatistics(t *testing.T) {
	dev := vktest.Open(t)
	const n, p = 1 << 17, 0.2
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	g := ops.NewGraph(dev)
	g.Train(tensor(t, dev, ops.U32, []int{4}, []uint32{9, 0, 8, 0}))
	y := g.Dropout(tensor(t, dev, ops.F32, []int{n}, x), p)
	g.Output(y)
	run(t, g)
	var sum float64
	var lanes [4]float64
	var pairs [9]float64
	v := values(t, y)
	for i, e := range v {
		sum += float64(e) / n
		if e != 0 {
			lanes[i%4] += 4.0 / n
		}
		for d := 1; d < len(pairs); d++ {
			if e == 0 && v[(i+d)%n] == 0 {
				pairs[d] += 1.0 / n
			}
		}
	}
	opstest.Close(t, []float64{sum}, []float64{1}, 0.006) // about four standard deviations, as below
	opstest.Close(t, lanes[:], []float64{1 - p, 1 - p, 1 - p, 1 - p}, 0.009)
	for d := 1; d < len(pairs); d++ {
		opstest.Close(t, pairs[d:d+1], []float64{p * p}, 0.003)
	}
}

func TestDropoutIsOffWithoutTrain(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, 3)
	if g.Dropout(x, 0.5) != x {
		t.Error("dropout without Train changes its input")
	}
	g.Train(g.Input("random", ops.U32, 4))
	if g.Dropout(x, 0) != x {
		t.Error("dropout with p = 0 changes its input")
	}
	if g.Dropout(x, 0.5) == x {
		t.Error("dropout under Train is off")
	}
	g.Release()
}

// A backward pass through a dropout that is off is refused, as nobody asks for that:
// before Train was called, in a segment that is computed again, and at once. Without
// a backward pass, with p = 0, and where no gradient goes through, it is as it says.
func TestDropoutWithoutTrainIsNoTraining(t *testing.T) {
	dev := vktest.Open(t)
	p, frozen := ops.NewParams(dev, ops.F32), ops.NewParams(dev, ops.F32)
	w, f := p.Add("w", 4, 4), frozen.Add("f", 4, 4)
	must(t, p.Alloc())
	must(t, frozen.Alloc())
	t.Cleanup(p.Release)
	t.Cleanup(frozen.Release)
	frozen.Freeze()
	x, y := tensor(t, dev, ops.F32, []int{2, 4}, make([]float32, 8)), tensor(t, dev, ops.I32, []int{2}, []int32{1, 3})
	at := tensor(t, dev, ops.U32, []int{4}, []uint32{1, 2, 3, 4})
	off := func(g *ops.Graph, p float64) *ops.Tensor { return g.Dropout(g.Linear(x, w, nil), p) }
	for _, c := range []struct {
		name   string
		build  func(g *ops.Graph) *ops.Tensor // logits
		trains bool
		want   string
	}{
		{"without Train", func(g *ops.Graph) *ops.Tensor { return off(g, 0.5) }, true, "call Graph.Train before it"},
		{"before Train", func(g *ops.Graph) *ops.Tensor { h := off(g, 0.5); g.Train(at); return g.Dropout(h, 0.5) }, true, "call Graph.Train before it"},
		{"computed again", func(g *ops.Graph) *ops.Tensor {
			h := g.Linear(x, w, nil)
			return g.Recompute(h, func(h *ops.Tensor) *ops.Tensor { return g.Dropout(g.SiLU(h), 0.5) })
		}, true, "call Graph.Train before it"},
		{"evaluation", func(g *ops.Graph) *ops.Tensor { return off(g, 0.5) }, false, ""},
		{"p = 0", func(g *ops.Graph) *ops.Tensor { return off(g, 0) }, true, ""},
		{"of constants", func(g *ops.Graph) *ops.Tensor { return g.Linear(g.Dropout(g.Linear(x, f, nil), 0.5), w, nil) }, true, ""},
		{"under Train", func(g *ops.Graph) *ops.Tensor { g.Train(at); return off(g, 0.5) }, true, ""},
	} {
		for _, g := range []*ops.Graph{ops.NewGraph(dev), ops.NewImmediate(dev)} {
			loss := g.CrossEntropy(c.build(g), y, nil)
			g.Output(loss)
			if c.trains {
				g.Backward(loss, nil)
			}
			switch {
			case c.want == "" && g.Err() != nil:
				t.Errorf("%s: %v", c.name, g.Err())
			case c.want != "":
				wantError(t, c.name, g.Err(), "ops: backward: Dropout (at dropout_test.go:")
				wantError(t, c.name, g.Err(), c.want)
			}
			g.Release()
		}
	}
}

// A segment that is computed again drops the same values, its own and not those of a dropout after it.
func TestDropoutRecomputed(t *testing.T) {
	dev := vktest.Open(t)
	const n, p = 60, 0.4
	x, dy := random(ops.F32, 123, n), random(ops.F32, 124, n)
	gradient := func(segment func(g *ops.Graph, x *ops.Tensor, f func(x *ops.Tensor) *ops.Tensor) *ops.Tensor) (y, dx []float32) {
		in := tensor(t, dev, ops.F32, []int{n}, x)
		g := ops.NewGraph(dev)
		g.RequireGrad(in)
		g.Train(tensor(t, dev, ops.U32, []int{4}, []uint32{1, 2, 3, 4}))
		out := in
		for range 3 {
			out = segment(g, out, func(x *ops.Tensor) *ops.Tensor { return g.SiLU(g.Dropout(g.SiLU(g.Dropout(x, p)), p)) })
		}
		g.Output(out)
		ops.BackwardFrom(g, out, tensor(t, dev, ops.F32, []int{n}, dy), false)
		g.Output(g.Grad(in))
		run(t, g)
		return values(t, out), values(t, g.Grad(in))
	}
	want, wantGrad := gradient(func(_ *ops.Graph, x *ops.Tensor, f func(x *ops.Tensor) *ops.Tensor) *ops.Tensor { return f(x) })
	got, gotGrad := gradient((*ops.Graph).Recompute)
	opstest.Close(t, got, want, 0)
	opstest.Close(t, gotGrad, wantGrad, 0)
	if !slices.ContainsFunc(want, func(v float32) bool { return v != 0 }) {
		t.Error("nothing is left to compare")
	}
}

func TestDropoutErrors(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		call func(g *ops.Graph, x *ops.Tensor)
		want string
	}{
		{func(g *ops.Graph, x *ops.Tensor) { g.Dropout(x, 1) }, "ops: dropout: p is 1, want at least 0 and less than 1"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Dropout(x, -0.1) }, "ops: dropout: p is -0.1"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Dropout(x, math.NaN()) }, "ops: dropout: p is NaN"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Dropout(g.Input("", ops.I32, 4), 0.1) }, "ops: dropout: i32[4]: want a float type"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Dropout(nil, 0.1) }, "ops: dropout: argument 0 is nil"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Train(x) }, "ops: train: random is x f32[4], want u32[4]"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Train(g.Input("", ops.U32, 2)) }, "ops: train: random is u32[2]"},
		{func(g *ops.Graph, x *ops.Tensor) { g.Train(nil) }, "ops: train: argument 0 is nil"},
	} {
		g := ops.NewGraph(dev)
		c.call(g, g.Input("x", ops.F32, 4))
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "(at dropout_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
