package ops_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// softsign64 returns softsign(x) and its slope.
func softsign64(x float64) (y, slope float64) {
	d := 1 + math.Abs(x)
	return x / d, 1 / (d * d)
}

// twice is softsign(softsign(x)) with or without Recompute.
func twice(g *ops.Graph, x *ops.Tensor, recompute bool) *ops.Tensor {
	f := func(x *ops.Tensor) *ops.Tensor { return softsign(g, softsign(g, x)) }
	if recompute {
		return g.Recompute(x, f)
	}
	return f(x)
}

// An operation from outside has a value and a gradient, of inputs and of parameters, which it may be added to.
func TestRecordFromOutside(t *testing.T) {
	dev := vktest.Open(t)
	shape := []int{25, 28} // several workgroups
	const n = 25 * 28
	xv, dy := random(ops.F32, 160, n), random(ops.F32, 161, n)
	value, grad := make([]float64, n), make([]float64, n)
	for i, x := range xv {
		inner, slope := softsign64(float64(x))
		outer, outerSlope := softsign64(inner)
		value[i], grad[i] = outer, float64(dy[i])*slope*outerSlope
	}
	for _, recompute := range []bool{false, true} {
		for _, accumulate := range []bool{false, true} {
			p := ops.NewParams(dev, ops.F32)
			w := p.Add("w", shape...)
			must(t, p.Alloc())
			must(t, ops.Upload(ctx, w, xv))
			g := ops.NewGraph(dev)
			g.Fill(p.Grad(w), 3)
			x := g.Input("x", ops.F32, shape...)
			must(t, ops.Upload(ctx, x, xv))
			g.RequireGrad(x)
			y := twice(g, x, recompute)
			g.Output(y)
			ops.BackwardFrom(g, g.Add(y, twice(g, w, recompute)), tensor(t, dev, ops.F32, shape, dy), accumulate)
			g.Output(g.Grad(x))
			planned, err := g.Plan()
			must(t, err)
			step := run(t, g)
			if arena := step.Stats().ArenaBytes; arena != planned.Arena {
				t.Errorf("an arena of %d bytes, %d planned", arena, planned.Arena)
			}
			want := slices.Clone(grad)
			if accumulate {
				for i := range want {
					want[i] += 3
				}
			}
			opstest.Close(t, values(t, y), value, 1e-6)
			opstest.Close(t, values(t, g.Grad(x)), grad, 1e-6)
			opstest.Close(t, values(t, p.Grad(w)), want, 1e-6)
			p.Release()
		}
	}
}

// A backward function may write to where the gradient goes, of inputs that need one, and return nil for it.
func TestGradInto(t *testing.T) {
	dev := vktest.Open(t)
	xv := []float32{1, -2, 3, 4}
	for _, immediate := range []bool{false, true} {
		g := ops.NewGraph(dev)
		if immediate {
			g = ops.NewImmediate(dev)
			t.Cleanup(g.Release)
		}
		x, constant := tensor(t, dev, ops.F32, []int{4}, xv), tensor(t, dev, ops.F32, []int{4}, xv)
		g.RequireGrad(x)
		double := func(x, other *ops.Tensor) *ops.Tensor { // 2x, its gradient 2 dy
			y := g.Detach(g.Scale(x, 2))
			g.Record("double", y, []*ops.Tensor{x, other}, func(dy *ops.Tensor) []*ops.Tensor {
				if g.NeedsGrad(other) || !g.NeedsGrad(x) {
					t.Error("a gradient of the wrong input is needed")
				}
				dx, add := g.GradInto(x)
				if !add {
					g.Fill(dx, 0)
				}
				g.AddTo(g.Scale(dy, 2), dx)
				return []*ops.Tensor{nil, g.Scale(dy, 5)} // nobody wants that one
			})
			return y
		}
		y := g.Add(double(x, constant), double(x, constant))
		ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4}), false)
		if g.Grad(constant) != nil {
			t.Error("a gradient nobody wants")
		}
		g.Output(g.Grad(x))
		if !immediate {
			run(t, g)
		}
		must(t, g.Err())
		opstest.Close(t, values(t, g.Grad(x)), []float32{4, 8, 12, 16}, 0)
	}
}

// A Detach of an input, be that a parameter, can have a gradient of its own.
func TestRecordOfADetachedParameter(t *testing.T) {
	dev := vktest.Open(t)
	for _, g := range []*ops.Graph{ops.NewGraph(dev), ops.NewImmediate(dev)} {
		p := ops.NewParams(dev, ops.F32)
		w, other := p.Add("w", 4), p.Add("other", 4)
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		must(t, ops.Upload(ctx, w, []float32{1, 2, 3, 4}))
		y := g.Detach(w)
		g.Record("reversed", y, []*ops.Tensor{w}, func(dy *ops.Tensor) []*ops.Tensor { return []*ops.Tensor{g.Scale(dy, -1)} })
		loss := g.Sum(g.Mul(y, w))
		g.Backward(loss, nil)
		g.Output(loss)
		if !g.Immediate() {
			run(t, g)
		}
		must(t, g.Err())
		opstest.Close(t, values(t, p.Grad(w)), []float32{0, 0, 0, 0}, 0)
		g.Release()
		g = ops.NewGraph(dev)
		g.Record("mine", other, []*ops.Tensor{w}, func(dy *ops.Tensor) []*ops.Tensor { return []*ops.Tensor{dy} })
		wantError(t, "another parameter", g.Err(), "ops: mine: other f32[4] is not computed by this graph")
		g.Release()
	}
}

// Errors and anomalies name the operation from outside, and the line that called it.
func TestRecordedOperationIsNamed(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	where := here(1)
	softsign(g, g.Input("x", ops.F16, 4))
	wantError(t, "softsign", g.Err(), "ops: softsign: x f16[4]: want f32 (at "+where+")")
	g.Release()

	g = ops.NewGraph(dev)
	x, y := g.Input("x", ops.F32, 1, 4), g.Input("y", ops.I32, 1)
	g.RequireGrad(x)
	where = here(1)
	s := softsign(g, x)
	loss := g.CrossEntropy(g.Scale(s, 1e30), y, nil)
	g.Backward(loss, nil)
	g.Output(g.Grad(x))
	g.Output(loss)
	step := compile(t, g)
	must(t, ops.Upload(ctx, y, []int32{1}))
	for _, c := range []struct {
		value float32
		want  ops.AnomalyError
	}{
		{float32(math.NaN()), ops.AnomalyError{Op: "softsign", Kernel: "softsign", Where: where, Result: "f32[1 4]", At: []int{0, 2}, Input: "x f32[1 4]"}},
		{1, ops.AnomalyError{}},
	} {
		must(t, ops.Upload(ctx, x, []float32{1, 2, c.value, 4}))
		var got *ops.AnomalyError
		err := step.RunChecked(ctx)
		switch {
		case c.want.Op == "":
			must(t, err)
		case !errors.As(err, &got):
			t.Errorf("error %v, want an anomaly", err)
		default:
			if got.Value = 0; fmt.Sprint(*got) != fmt.Sprint(c.want) {
				t.Errorf("anomaly %+v, want %+v", *got, c.want)
			}
		}
	}
}

// What is wrong with an own kernel, or with what its backward function returns, is found before it runs.
func TestRecordErrors(t *testing.T) {
	dev := vktest.Open(t)
	type call = ops.Call
	one := struct{ N4 uint32 }{1}
	for _, c := range []struct {
		name string
		mine func(c *call)
		want string
	}{
		{"nothing", func(c *call) {}, ""},
		{"items", func(c *call) { c.Threads, c.Items = 0, 1 }, ""},
		{"a name of ours", func(c *call) { c.Kernel = "ids" }, ""},
		{"no code", func(c *call) { c.SPIRV = []byte{} }, "not SPIR-V: 0 bytes"},
		{"half of the code", func(c *call) { c.SPIRV = c.SPIRV[:len(c.SPIRV)/8*4] }, "damaged SPIR-V"},
		{"text", func(c *call) { c.SPIRV = []byte(strings.Repeat("#version 450\n", 4)) }, "not SPIR-V"},
		{"an argument too few", func(c *call) { c.Args = c.Args[:2] }, "own: 2 arguments for 3 bindings"},
		{"no push block", func(c *call) { c.Push = nil }, "0 bytes of push constants, the shader has 4"},
		{"an unknown constant", func(c *call) { c.Spec = map[uint32]uint32{7: 1} }, "own: there is no specialization constant 7"},
		{"no workgroups", func(c *call) { c.Threads = 0 }, "own: no items, invocations or workgroups"},
		{"two sizes of the grid", func(c *call) { c.Groups = 1 }, "own: 0 items, 1 invocations and 1 workgroups: say one of the three"},
		{"constants of no size", func(c *call) { c.Push = struct{ N4 int }{1} }, "own: push constants are a struct { N4 int }, want a struct of uint32, int32 and float32"},
		{"its own size of workgroups", func(c *call) { c.Local = 64 }, ""},
		{"another size of workgroups", func(c *call) { c.Local = 32 }, "own: Local is 32, its workgroups have a size of [64 1 1]"},
	} {
		for kind, g := range map[string]*ops.Graph{"graph": ops.NewGraph(dev), "immediate": ops.NewImmediate(dev)} {
			x, y := tensor(t, dev, ops.F32, []int{4}, []float32{1, 2, 3, 4}), tensor[float32](t, dev, ops.F32, []int{4}, nil)
			own := call{Kernel: "own", SPIRV: softsignSPIRV, Threads: 1, Push: one, Args: []*ops.Tensor{x, x, y}}
			c.mine(&own)
			where := here(1)
			g.Dispatch("mine", own)
			err := g.Err()
			if kind == "graph" && err == nil {
				var step *ops.Step
				if step, err = g.Compile(); err == nil {
					must(t, step.Run())
					must(t, step.Wait(ctx))
					step.Close()
				}
			}
			if c.want == "" {
				must(t, err)
				opstest.Close(t, values(t, y), []float64{0.5, 2. / 3, 0.75, 0.8}, 1e-6)
			} else if wantError(t, c.name, err, c.want); err != nil && (!strings.HasPrefix(err.Error(), "ops: mine: ") || !strings.Contains(err.Error(), where)) {
				t.Errorf("%s, %s: error %v names no operation and line %s", c.name, kind, err, where)
			}
			g.Release()
		}
	}
}

func TestRecordMisuse(t *testing.T) {
	dev := vktest.Open(t)
	other := tensor(t, dev, ops.F32, []int{3}, []float32{1, 2, 3})
	one := func(dx *ops.Tensor) func(*ops.Tensor) []*ops.Tensor {
		return func(*ops.Tensor) []*ops.Tensor { return []*ops.Tensor{dx} }
	}
	for want, build := range map[string]func(g *ops.Graph, x *ops.Tensor) *ops.Tensor{
		"ops: mine: argument 1 is nil": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			g.Record("mine", g.New(ops.F32, 4), []*ops.Tensor{nil}, one(nil))
			return x
		},
		"ops: mine: no function for its gradient": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			g.Record("mine", g.New(ops.F32, 4), []*ops.Tensor{x}, nil)
			return x
		},
		"ops: mine: f32[3] is not computed by this graph": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			g.Record("mine", other, []*ops.Tensor{x}, one(nil))
			return x
		},
		"is both its result and an input": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Detach(x)
			g.Record("mine", y, []*ops.Tensor{y}, one(nil))
			return x
		},
		"ops: mine: f32[4] has a gradient already": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Scale(x, 2)
			g.Record("mine", y, []*ops.Tensor{x}, one(nil))
			return y
		},
		"ops: mine: backward returned 0 gradients for 1 inputs": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Detach(g.Scale(x, 2))
			g.Record("mine", y, []*ops.Tensor{x}, func(*ops.Tensor) []*ops.Tensor { return nil })
			return y
		},
		"ops: mine: backward returned f32[3] as the gradient of x f32[4]": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Detach(g.Scale(x, 2))
			g.Record("mine", y, []*ops.Tensor{x}, one(other))
			return y
		},
		"ops: mine: f32[4] has been read (at record_test.go:": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Detach(g.Scale(x, 2))
			z := g.Mul(y, x)
			g.Record("mine", y, []*ops.Tensor{x}, one(nil))
			return z
		},
		"has been read (at record_test.go:": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Detach(g.Scale(x, 2))
			z := g.Scale(y, 2) // nothing needs a gradient here yet
			g.Record("mine", y, []*ops.Tensor{x}, one(nil))
			return z
		},
		"ops: grad into: no gradient is being computed": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			g.GradInto(x)
			return x
		},
		"ops: detach: argument 0 is nil": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor { return g.Detach(nil) },
		"which mine has returned as a gradient: return another tensor each time": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			scratch := tensor[float32](t, dev, ops.F32, []int{4}, nil)
			mine := func(x *ops.Tensor) *ops.Tensor {
				y := g.Detach(g.Scale(x, 2))
				g.Record("mine", y, []*ops.Tensor{x}, func(dy *ops.Tensor) []*ops.Tensor {
					g.CastTo(g.Scale(dy, 2), scratch)
					return []*ops.Tensor{scratch}
				})
				return y
			}
			return g.Add(mine(x), mine(g.Scale(x, 3)))
		},
		"ops: grad into: f32[4] is no input of mine": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			h := g.Scale(x, 3)
			y := g.Detach(g.Scale(h, 2))
			var later *ops.Tensor
			g.Record("mine", y, []*ops.Tensor{h}, func(dy *ops.Tensor) []*ops.Tensor {
				dx, _ := g.GradInto(later) // which has handed its gradient on already
				g.CastTo(dy, dx)
				return []*ops.Tensor{nil}
			})
			later = g.Scale(x, 5)
			return g.Add(y, later)
		},
		"ops: grad into: nothing needs the gradient of f32[3]": func(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
			y := g.Detach(g.Scale(x, 2))
			g.Record("mine", y, []*ops.Tensor{x}, func(*ops.Tensor) []*ops.Tensor {
				g.GradInto(other)
				return nil
			})
			return y
		},
	} {
		g := ops.NewGraph(dev)
		x := g.Input("x", ops.F32, 4)
		g.RequireGrad(x)
		y := build(g, x)
		ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{4}, []float32{1, 1, 1, 1}), false)
		if wantError(t, want, g.Err(), want); g.Err() != nil && !strings.Contains(g.Err().Error(), "(at record_test.go:") {
			t.Errorf("error %v names no line of this file", g.Err())
		}
		g.Release()
	}
}
