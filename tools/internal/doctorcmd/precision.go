package doctorcmd

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// function is an operation on each value and what it should be.
type function struct {
	name  string
	apply func(g *ops.Graph, x *ops.Tensor) *ops.Tensor
	want  func(x float64) float64
	units float64 // it may be off by, of the last place of f32
	in    func(x float32) float32
}

// functions are what kernels are made of. The bounds are those of the tests, see docs/specification.md; the root of a
// reciprocal is allowed 2 units by Vulkan, and 2 more come from the sum and the weight of a norm.
var functions = []function{
	{"exp", (*ops.Graph).Exp, math.Exp, 5, nil},
	{"log", (*ops.Graph).Log, math.Log, 5, absolute},
	{"sigmoid", (*ops.Graph).Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 5, nil},
	{"tanh", (*ops.Graph).Tanh, math.Tanh, 5, nil},
	{"division", divide3, func(x float64) float64 { return 3 / x }, 5, nil},
	{"reciprocal square root", rowNorm, func(x float64) float64 { return x / math.Sqrt(x*x+normEps) }, 5, nil},
}

func absolute(x float32) float32 { return float32(math.Abs(float64(x))) }

const normEps = 1e-5

// rowNorm normalizes each value, a row of its own: x/√(x² + ε).
func rowNorm(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	return g.RMSNorm(x, filled(g, 1, 1), normEps)
}

func divide3(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	return g.Div(filled(g, 3, x.Shape()...), x)
}

func filled(g *ops.Graph, value float32, shape ...int) *ops.Tensor {
	y := g.New(ops.F32, shape...)
	g.Fill(y, value)
	return y
}

// checkPrecision compares functions and conversions of the device with those of the host.
func checkPrecision(ctx context.Context, dev *vk.Device) (Check, error) {
	const name = "precision"
	x := arguments()
	offs := map[string]any{}
	var wrong, said []string
	for _, f := range functions {
		off, at, err := f.worst(ctx, dev, x)
		if err != nil {
			return Check{}, err
		}
		offs[f.name] = off
		said = append(said, fmt.Sprintf("%s %.2g", f.name, off))
		if !(off <= f.units) {
			wrong = append(wrong, fmt.Sprintf("%s of %v is off by %.3g units in the last place, %v are allowed", f.name, at, off, f.units))
		}
	}
	for _, dt := range []ops.DType{ops.F16, ops.BF16} {
		at, got, err := conversion(ctx, dev, dt)
		if err != nil {
			return Check{}, err
		}
		if got != nil {
			wrong = append(wrong, fmt.Sprintf("%v is %v in %v", at, *got, dt))
		}
	}
	if len(wrong) > 0 {
		return fail(name, wrongResult, "%s", strings.Join(wrong, "; ")).with("units_off", offs), nil
	}
	return good(name, "units in the last place: %s; f16 and bf16 are rounded to nearest even; NaN and infinities are kept", strings.Join(said, ", ")).
		with("units_off", offs), nil
}

// arguments go from -86 to 86, down to 1e-28 of both signs, and around 1; then come infinity, its negative and NaN.
func arguments() []float32 {
	const n = 4096
	x := make([]float32, n)
	for i := range x {
		x[i] = 86*(2*float32(i)+1)/n - 86
	}
	for i := range n / 8 {
		x[8*i] = float32(math.Copysign(math.Exp(-float64(i)/8), float64(x[8*i])))
		x[8*i+1] = float32(1 + math.Copysign(math.Exp(-float64(i)/30), float64(x[8*i]))/2)
	}
	return append(x, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()))
}

// worst applies f to x, and returns by how many units the worst result is off, and of what. Results below 1e-35 do not count,
// which the device may take for 0; of infinities and NaN the result must be what the host has.
func (f function) worst(ctx context.Context, dev *vk.Device, x []float32) (off float64, at float32, err error) {
	in := make([]float32, len(x))
	for i, v := range x {
		if in[i] = v; f.in != nil {
			in[i] = f.in(v)
		}
	}
	y, err := compute(ctx, dev, in, f.apply)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", f.name, err)
	}
	for i, v := range in {
		if e := unitsOff(float64(y[i]), f.want(float64(v))); e > off {
			off, at = e, v
		}
	}
	return off, at, nil
}

// unitsOff is how far a value is from the wanted one, in units of the last place of f32.
func unitsOff(got, want float64) float64 {
	switch single := float64(float32(want)); {
	case math.IsNaN(want) && math.IsNaN(got), got == single:
		return 0
	case math.Abs(want) < 1e-35 && math.Abs(got) < 1e-35:
		return 0
	case math.IsNaN(got) || math.IsInf(got, 0) || math.IsNaN(want) || math.IsInf(single, 0):
		return math.Inf(1)
	}
	return math.Abs(got-want) / math.Abs(want) * (1 << 23)
}

// compute applies an operation to f32 values, each a row.
func compute(ctx context.Context, dev *vk.Device, in []float32, apply func(*ops.Graph, *ops.Tensor) *ops.Tensor) ([]float32, error) {
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.F32, len(in), 1)
	y := apply(g, x)
	g.Output(y)
	step, err := g.Compile()
	if err != nil {
		return nil, err
	}
	defer step.Close()
	if err := ops.Upload(ctx, x, in); err != nil {
		return nil, err
	}
	if err := step.Run(); err != nil {
		return nil, err
	}
	out := make([]float32, len(in))
	return out, ops.Download(ctx, y, out)
}

// conversion stores values as dt and reads them again. It returns the first that is not what the host makes of it, which
// rounds to nearest even: ties, subnormals, the largest and those that are too large.
func conversion(ctx context.Context, dev *vk.Device, dt ops.DType) (at float32, got *float32, err error) {
	var in []float32
	for _, x := range arguments() {
		in = append(in, x, x*1e-3, x*1e3)
	}
	for _, bits := range []uint32{0, 1 << 31, 0x3f801000, 0x3f803000, 0x3f808000, 0x3f818000, 0x33000000, 0x33000001, 0x33c00000, 0x477fefff, 0x477ff000, 0x7f7fffff, 0x7f7f7fff} {
		in = append(in, math.Float32frombits(bits))
	}
	out, err := compute(ctx, dev, in, func(g *ops.Graph, x *ops.Tensor) *ops.Tensor { return g.Cast(g.Cast(x, dt), ops.F32) })
	if err != nil {
		return 0, nil, fmt.Errorf("conversion to %v: %w", dt, err)
	}
	for i, x := range in {
		want := stored(dt, x)
		if same := out[i] == want && math.Signbit(float64(out[i])) == math.Signbit(float64(want)); !same && !(out[i] != out[i] && want != want) {
			return x, &out[i], nil
		}
	}
	return 0, nil, nil
}

// stored is x rounded to dt.
func stored(dt ops.DType, x float32) float32 {
	bits := uint32(dt.Bits(x))
	if dt == ops.BF16 {
		return math.Float32frombits(bits << 16)
	}
	sign, exponent, mantissa := bits>>15<<31, bits>>10&31, float64(bits&1023)
	var v float64
	switch exponent {
	case 0:
		v = math.Ldexp(mantissa, -24)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | bits&1023<<13)
	default:
		v = math.Ldexp(1024+mantissa, int(exponent)-25)
	}
	return math.Float32frombits(math.Float32bits(float32(v)) | sign)
}
