package ops_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// ropeTolerance leaves 16-bit results the rounding of sums that f32 rounds first.
func ropeTolerance(dt ops.DType) float64 {
	if dt == ops.F32 {
		return 1e-6
	}
	return tolerance(dt)
}

func TestRoPE(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		b, t, h, s int
		theta      float64
		halfSplit  bool
	}{{1, 1, 1, 2, 1e4, false}, {2, 5, 3, 6, 1e4, false}, {1, 7, 2, 20, 100, false}, {2, 9, 3, 64, 5e5, false},
		{1, 3, 1, 8, 1e4, true}, {2, 9, 3, 64, 1e5, true}, {1, 5, 2, 80, 1e4, true},
		{1, 3, 1, 2, 1e4, true}, {2, 5, 9, 6, 1e4, true}, {1, 7, 2, 20, 100, true}} {
		for _, dt := range floats {
			t.Run(fmt.Sprint(c, dt), func(t *testing.T) {
				n := c.b * c.t * c.h * c.s
				xv := opstest.Round(dt.String(), opstest.Uniform(70, n, 2))
				dv := opstest.Round(dt.String(), opstest.Uniform(71, n, 2))
				shape := []int{c.b, c.t, c.h, c.s}
				x := tensor(t, dev, dt, shape, xv)
				g := ops.NewGraph(dev)
				g.RequireGrad(x)
				y := g.RoPE(x, &ops.RoPEOptions{Theta: c.theta, HalfSplit: c.halfSplit})
				ops.BackwardFrom(g, y, tensor(t, dev, dt, shape, dv), false)
				g.Output(y)
				g.Output(g.Grad(x))
				run(t, g)
				opstest.Close(t, values(t, y), opstest.RoPE64(xv, c.t, c.h, c.s, 0, c.theta, c.halfSplit, 1), ropeTolerance(dt))
				opstest.Close(t, values(t, g.Grad(x)), opstest.RoPE64(dv, c.t, c.h, c.s, 0, c.theta, c.halfSplit, -1), ropeTolerance(dt))
			})
		}
	}
}

// As on a graphics card, where a workgroup has all heads of a position; and in
// place where each invocation writes only what it alone has read.
func TestRoPEWideInPlace(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		h, s             int
		halfSplit, share bool
	}{{3, 20, false, true}, {40, 64, true, true}, {3, 12, true, false}, {1, 1030, false, true}} {
		const n = 5
		xv := opstest.Uniform(75, n*c.h*c.s, 1)
		g := ops.NewGraph(dev)
		ops.TuneGPU(g)
		x := g.Scale(tensor(t, dev, ops.F32, []int{1, n, c.h, c.s}, xv), 1)
		y := g.RoPE(x, &ops.RoPEOptions{HalfSplit: c.halfSplit})
		g.Output(y)
		run(t, g)
		opstest.Close(t, values(t, y), opstest.RoPE64(xv, n, c.h, c.s, 0, 1e4, c.halfSplit, 1), 1e-6)
		if ops.Shares(x, y) != c.share {
			t.Errorf("%+v: in place is %v", c, !c.share)
		}
	}
}

// A start moves all positions, up to one where an angle in f32 would be off by a hundredth.
func TestRoPEStart(t *testing.T) {
	ctx := context.Background()
	dev := vktest.Open(t)
	const positions, b, n, h, s = 100_003, 2, 3, 2, 8
	for _, halfSplit := range []bool{false, true} {
		xv := opstest.Uniform(72, b*n*h*s, 1)
		x := tensor(t, dev, ops.F32, []int{b, n, h, s}, xv)
		g := ops.NewGraph(dev)
		start := g.Input("start", ops.U32, 4)
		y := g.RoPE(x, &ops.RoPEOptions{HalfSplit: halfSplit, Start: start, Positions: positions})
		g.Output(y)
		step, err := g.Compile()
		if err != nil {
			t.Fatal(err)
		}
		defer step.Close()
		for _, at := range []int{0, 1, positions - n} {
			if err := ops.Upload(ctx, start, []uint32{uint32(at), 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
			if err := step.Run(); err != nil {
				t.Fatal(err)
			}
			opstest.Close(t, values(t, y), opstest.RoPE64(xv, n, h, s, at, 1e4, halfSplit, 1), 1e-6)
		}
	}
}

func TestRoPEErrors(t *testing.T) {
	dev := vktest.Open(t)
	for want, call := range map[string]func(g *ops.Graph){
		"even S":            func(g *ops.Graph) { g.RoPE(g.New(ops.F32, 1, 2, 3, 5), nil) },
		"want (B, T, H, S)": func(g *ops.Graph) { g.RoPE(g.New(ops.F32, 2, 3, 4), nil) },
		"theta is -1":       func(g *ops.Graph) { g.RoPE(g.New(ops.F32, 1, 2, 3, 4), &ops.RoPEOptions{Theta: -1}) },
		"theta is NaN":      func(g *ops.Graph) { g.RoPE(g.New(ops.F32, 1, 2, 3, 4), &ops.RoPEOptions{Theta: math.NaN()}) },
		"want u32[4]": func(g *ops.Graph) {
			g.RoPE(g.New(ops.F32, 1, 2, 3, 4), &ops.RoPEOptions{Start: g.Input("s", ops.U32, 3)})
		},
		"Positions is 1, want": func(g *ops.Graph) {
			g.RoPE(g.New(ops.F32, 1, 2, 3, 4), &ops.RoPEOptions{Start: g.Input("s", ops.U32, 4), Positions: 1})
		},
	} {
		g := ops.NewGraph(dev)
		call(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want an error with %q", err, want)
		}
		g.Release()
	}
}
