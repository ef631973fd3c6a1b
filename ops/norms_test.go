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
	"github.com/lemnos-ml/lemnos/vk"
)

const normEps = 1e-5

// normCase is a norm of x (…, D), and its gradients given that of the result.
type normCase struct {
	dt         ops.DType
	shape      []int
	bias       string    // "rms": RMSNorm; "none", "bias": LayerNorm without and with one
	x, w, b    []float32 // parameters, except those that frozen names
	dy         []float32
	residual   bool // the result is norm(x) + x
	accumulate bool // gradients are 3 before, and added to
	frozen     string
}

// newNormCase fills in values: those of x lie around mean.
func newNormCase(dt ops.DType, kind string, mean float32, shape ...int) *normCase {
	n := 1
	for _, s := range shape {
		n *= s
	}
	d := shape[len(shape)-1]
	c := &normCase{dt: dt, shape: shape, bias: kind, w: random(dt, 101, d), b: random(dt, 102, d), dy: random(dt, 103, n)}
	c.x = opstest.Uniform(100, n, 2)
	for i := range c.x {
		c.x[i] += mean
	}
	c.x = opstest.Round(dt.String(), c.x)
	return c
}

// norms is what a normCase comes to: y, and the gradients of x, w and b, nil
// where nobody wants them.
type norms map[string][]float64

// want returns the reference.
func (c *normCase) want() norms {
	r := norms{}
	var dx, dw, db []float64
	switch c.bias {
	case "rms":
		r["y"] = opstest.RMSNorm64(c.x, c.w, normEps)
		dx, dw = opstest.RMSNormBackward64(c.x, c.w, c.dy, normEps)
	case "none":
		r["y"] = opstest.LayerNorm64(c.x, c.w, nil, normEps)
		dx, dw, _ = opstest.LayerNormBackward64(c.x, c.w, c.dy, normEps)
	case "bias":
		r["y"] = opstest.LayerNorm64(c.x, c.w, c.b, normEps)
		dx, dw, db = opstest.LayerNormBackward64(c.x, c.w, c.dy, normEps)
	}
	for i := range c.x {
		if c.residual {
			r["y"][i] += float64(c.x[i])
			dx[i] += float64(c.dy[i])
		}
	}
	for name, grad := range map[string][]float64{"x": dx, "w": dw, "b": db} {
		if grad == nil || strings.Contains(c.frozen, name) {
			continue
		}
		for i := range grad {
			if c.accumulate {
				grad[i] += 3
			}
		}
		r[name] = grad
	}
	return r
}

// run returns what a graph makes of it.
func (c *normCase) run(t testing.TB, dev *vk.Device, tune func(g *ops.Graph)) norms {
	t.Helper()
	p := ops.NewParams(dev, c.dt)
	p.Add("unused", 1)
	d := c.shape[len(c.shape)-1:]
	make := func(name string, shape []int, data []float32) *ops.Tensor {
		if strings.Contains(c.frozen, name) {
			return tensor(t, dev, c.dt, shape, data)
		}
		return p.Add(name, shape...)
	}
	x, w, b := make("x", c.shape, c.x), make("w", d, c.w), make("b", d, c.b)
	if err := p.Alloc(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	for q, data := range map[*ops.Tensor][]float32{x: c.x, w: c.w, b: c.b} {
		if err := ops.Upload(ctx, q, data); err != nil {
			t.Fatal(err)
		}
	}
	g := ops.NewGraph(dev)
	if tune != nil {
		tune(g)
	}
	for _, q := range p.All() {
		g.Fill(p.Grad(q), 3)
	}
	h := x
	if c.residual { // an intermediate, whose gradient has a share already when the norm's comes
		h = g.Scale(x, 1)
	}
	y := applyNorm(g, c.bias, h, w, b, normEps)
	if c.residual {
		y = g.Add(y, h)
	}
	g.Output(y)
	ops.BackwardFrom(g, y, tensor(t, dev, c.dt, c.shape, c.dy), c.accumulate)
	run(t, g)
	r := norms{"y": opstest.F64(values(t, y))}
	for name, q := range map[string]*ops.Tensor{"x": x, "w": w, "b": b} {
		if g.Grad(q) != nil {
			r[name] = opstest.F64(values(t, g.Grad(q)))
		}
	}
	return r
}

func applyNorm(g *ops.Graph, kind string, x, w, b *ops.Tensor, eps float64) *ops.Tensor {
	switch kind {
	case "rms":
		return g.RMSNorm(x, w, eps)
	case "none":
		b = nil
	}
	return g.LayerNorm(x, w, b, eps)
}

// check fails t unless got is the reference's result: within one rounding, and
// in f32 to a relative error of 1e-6 over all.
func (c *normCase) check(t testing.TB, got norms) {
	t.Helper()
	want := c.want()
	for _, name := range []string{"y", "x", "w", "b"} {
		if (got[name] == nil) != (want[name] == nil) {
			t.Errorf("%s: %d values, want %d", name, len(got[name]), len(want[name]))
			continue
		}
		tol := 1e-6
		if c.dt != ops.F32 {
			tol = opstest.Epsilon(c.dt.String())
		}
		if c.residual || c.accumulate {
			tol *= 2 // the sum is rounded too
		}
		if c.shape[len(c.shape)-1] == 1 { // d x is next to 0, the difference of two large terms
			opstest.Close(t, got[name], want[name], tol)
			continue
		}
		if e := opstest.RelL2(got[name], want[name]); !(e <= tol) {
			t.Errorf("%s is off by %.2g, want at most %.2g", name, e, tol)
		}
	}
}

var normKinds = []string{"rms", "none", "bias"}

func TestNorms(t *testing.T) {
	t.Parallel()
	dev := vktest.Open(t)
	for _, kind := range normKinds {
		for _, dt := range floats {
			shapes := [][]int{{1, 1}, {5}, {2, 3, 5}, {70, 130}}
			if kind != "none" {
				shapes = append(shapes, []int{2, 1101})
			}
			if kind != "none" && dt == ops.F32 {
				shapes = append(shapes, []int{1, 3}, []int{9, 64}, []int{3, 576}, []int{20, 1000})
			}
			for _, shape := range shapes {
				t.Run(fmt.Sprint(kind, dt, shape), func(t *testing.T) {
					c := newNormCase(dt, kind, 0.5, shape...)
					c.check(t, c.run(t, dev, nil))
				})
			}
		}
	}
}

// The spread of values far from 0 counts, not where they are.
func TestLayerNormFarFromZero(t *testing.T) {
	dev := vktest.Open(t)
	for _, d := range []int{64, 130, 1101} {
		c := newNormCase(ops.F32, "bias", 1000, 4, d)
		c.check(t, c.run(t, dev, nil))
	}
}

// So do the differences of gradients, where the values hardly differ at all: with eps
// next to 0 the gradient of x is a million times that difference.
func TestLayerNormGradientsFarFromZero(t *testing.T) {
	dev := vktest.Open(t)
	for _, d := range []int{3, 64, 130, 1101} {
		for _, spread := range []float32{0, 1} {
			c := newNormCase(ops.F32, "none", 0.5, 4, d)
			for i := range c.dy {
				c.dy[i] = 1000.7 + spread*c.dy[i]
			}
			for i := range c.w {
				c.w[i] = 1
			}
			c.frozen = "w"
			if spread > 0 {
				c.check(t, c.run(t, dev, nil))
				continue
			}
			for i := range c.x { // x, y and dx are 0 but for rounding; s is 316
				c.x[i] = 0.3
			}
			opstest.Close(t, c.run(t, dev, nil)["x"], make([]float64, len(c.x)), 1e-6)
		}
	}
}

// A device that says its subgroups are larger than its compiler makes them, as those
// of Intel's and Qualcomm's GPUs do: rows of so many values that its workgroups are
// of the size it says.
func TestSubgroupsOfAnySize(t *testing.T) {
	real := vktest.Open(t).Info().Caps.SubgroupSize // of software drivers, which have no other
	vktest.Limit(t, vktest.Limits{GPU: true, Basic: true, SubgroupSize: 4 * real})
	dev := vktest.Open(t)
	for _, kind := range normKinds {
		c := newNormCase(ops.F32, kind, 0.5, 9, 16*int(real))
		c.check(t, c.run(t, dev, nil))
	}
	v := 16 * int(real)
	logits, targets := opstest.Uniform(1, 9*v, 4), make([]int32, 9)
	want := opstest.CrossEntropy64(logits, targets, v, opstest.CrossEntropyOptions{})
	got := ceRun(t, dev, ops.F32, []int{9, v}, logits, targets, opstest.CrossEntropyOptions{})
	if loss, grad := opstest.RelL2(got.rows, want.Rows), opstest.RelL2(got.grad, want.Grad); !(max(loss, grad) <= 1e-6) {
		t.Errorf("cross-entropy is off by %.2g, its gradient by %.2g", loss, grad)
	}
}

// Workgroups of many subgroups, joined through shared memory, or without subgroups.
func TestNormsAsOnGPU(t *testing.T) {
	dev := vktest.Open(t)
	for _, kind := range []string{"rms", "bias"} {
		for i, shape := range [][]int{{19, 20}, {3, 1001}, {2, 8197}, {5, 36}, {2, 2080}, {2, 4100}} {
			t.Run(fmt.Sprint(kind, shape), func(t *testing.T) {
				c := newNormCase(floats[min(i, 2)], kind, 0.5, shape...)
				c.check(t, c.run(t, dev, ops.TuneGPU))
				if i == 1 {
					c.check(t, c.run(t, dev, func(g *ops.Graph) {
						ops.TuneGPU(g)
						ops.WithoutSubgroups(g)
					}))
				}
			})
		}
	}
}

// The padding of y and of every gradient is zero, whatever the rows hold: what
// reads y next counts on it.
func TestNormPadding(t *testing.T) {
	dev := vktest.Open(t)
	for _, kind := range normKinds {
		for _, d := range []int{5, 1101} {
			c := newNormCase(ops.F32, kind, 100, 9, d)
			x, w, b := tensor(t, dev, ops.F32, c.shape, c.x), tensor(t, dev, ops.F32, []int{d}, c.w), tensor(t, dev, ops.F32, []int{d}, c.b)
			g := ops.NewGraph(dev)
			g.RequireGrad(x)
			g.RequireGrad(w)
			g.RequireGrad(b)
			y := applyNorm(g, kind, x, w, b, normEps)
			ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, c.shape, c.dy), false)
			outs := slices.DeleteFunc([]*ops.Tensor{y, g.Grad(x), g.Grad(w), g.Grad(b)}, func(out *ops.Tensor) bool { return out == nil })
			for i, out := range outs {
				outs[i] = ops.Padded(out)
				g.Output(outs[i])
			}
			run(t, g)
			for _, out := range outs {
				for i, v := range values(t, out) {
					if stride := out.Shape()[1]; i%stride >= d && v != 0 {
						t.Fatalf("%s: value %d of row %d of %v is %v", kind, i%stride, i/stride, out, v)
					}
				}
			}
		}
	}
}

// Every combination of what is wanted and what is there before.
func TestNormGradientsAddAndAreDropped(t *testing.T) {
	dev := vktest.Open(t)
	for _, kind := range normKinds {
		for _, frozen := range []string{"", "x", "w", "b", "xw", "xb", "wb"} {
			for i, d := range []int{7, 1101} {
				if d > 7 && len(frozen) == 1 { // the long kernels are slow to compile
					continue
				}
				c := newNormCase(floats[min(i, 2)], kind, -0.5, 11, d)
				c.frozen, c.residual, c.accumulate = frozen, d == 7, d != 7
				t.Run(fmt.Sprint(kind, d, frozen), func(t *testing.T) { c.check(t, c.run(t, dev, nil)) })
			}
		}
	}
}

// A row of NaN or infinity stays alone, and so does its padding.
func TestNormOfNonFinite(t *testing.T) {
	dev := vktest.Open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, kind := range normKinds {
		for _, bad := range []float32{nan, inf} {
			c := newNormCase(ops.F32, kind, 0, 3, 5)
			c.x[7] = bad
			g := ops.NewGraph(dev)
			y := ops.Padded(applyNorm(g, kind, tensor(t, dev, ops.F32, c.shape, c.x), tensor(t, dev, ops.F32, []int{5}, c.w), tensor(t, dev, ops.F32, []int{5}, c.b), normEps))
			g.Output(y)
			run(t, g)
			got := values(t, y)
			good := slices.Concat(got[:8], got[16:])
			if got[10] == got[10] || slices.ContainsFunc(good, func(v float32) bool { return v != v }) || !slices.Equal(got[13:16], make([]float32, 3)) {
				t.Errorf("%s of %v: %v", kind, bad, got)
			}
		}
	}
}

// The gradients of a weight and of the bias behind it are summed together; in rows that end before the bias starts, and
// where one of them has a share already, apart.
func TestLayerNormSumsTogether(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		d     int
		twice bool
		calls int
	}{{128, false, 2}, {130, false, 4}, {128, true, 6}} { // two levels each
		p := ops.NewParams(dev, ops.F32)
		w, b := p.Add("w", c.d), p.Add("b", c.d)
		if err := p.Alloc(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		const rows = 3000
		x, dy := opstest.Uniform(100, rows*c.d, 2), opstest.Uniform(103, rows*c.d, 1)
		g := ops.NewGraph(dev)
		in := tensor(t, dev, ops.F32, []int{rows, c.d}, x)
		y := g.LayerNorm(in, w, b, normEps)
		_, dw, db := opstest.LayerNormBackward64(x, make([]float32, c.d), dy, normEps)
		if c.twice { // the later of the two finds a gradient of the weight there
			y = g.Add(y, g.LayerNorm(in, w, nil, normEps))
			for i := range dw {
				dw[i] *= 2
			}
		}
		ops.BackwardFrom(g, y, tensor(t, dev, ops.F32, []int{rows, c.d}, dy), false)
		run(t, g)
		calls := 0
		for _, k := range ops.Kernels(g) {
			if strings.HasPrefix(k, "columnsum") {
				calls++
			}
		}
		if calls != c.calls {
			t.Errorf("%+v: %d calls of columnsum", c, calls)
		}
		for name, got := range map[string][]float32{"w": values(t, p.Grad(w)), "b": values(t, p.Grad(b))} {
			want := map[string][]float64{"w": dw, "b": db}[name]
			if e := opstest.RelL2(got, want); !(e <= 1e-6) {
				t.Errorf("%+v: %s is off by %.2g", c, name, e)
			}
		}
	}
}
