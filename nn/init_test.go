package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// A model of one's own starts as its function says, from the seed alone, tensors
// of one shape differently.
func TestInitialize(t *testing.T) {
	dev := vktest.Open(t)
	draw := func(seed uint64) (all [][]float32) {
		p := ops.NewParams(dev, ops.F32)
		for _, name := range []string{"a", "b", "cut", "norm", "bias"} {
			p.Add(name, 100, 100)
		}
		must(t, p.Alloc())
		defer p.Release()
		must(t, nn.Initialize(ctx, p, seed, func(x *ops.Tensor) nn.Init {
			switch x.Name() {
			case "norm":
				return nn.Init{Mean: 1}
			case "bias":
				return nn.Init{}
			case "cut":
				return nn.Init{Mean: 3, Deviation: 0.5, Limit: 1}
			}
			return nn.Xavier(x)
		}))
		for _, x := range p.All() {
			v := make([]float32, x.Len())
			must(t, ops.Download(ctx, x, v))
			all = append(all, v)
		}
		return all
	}
	first, again, other := draw(7), draw(7), draw(8)
	for i := range first {
		if !slices.Equal(first[i], again[i]) {
			t.Errorf("tensor %d differs between two draws of one seed", i)
		}
	}
	if slices.Equal(first[0], first[1]) || slices.Equal(first[0], other[0]) {
		t.Error("two tensors, or two seeds, start alike")
	}
	// A normal distribution cut off at one deviation has 0.5396 of its deviation.
	for i, want := range []struct{ mean, deviation, largest float64 }{{0, 0.1, 0.3}, {0, 0.1, 0.3}, {3, 0.5 * 0.5396, 3.5}, {1, 0, 1}, {0, 0, 0}} {
		mean, deviation, largest := moments(first[i])
		if want.deviation == 0 {
			if slices.ContainsFunc(first[i], func(v float32) bool { return float64(v) != want.mean }) {
				t.Errorf("tensor %d is not %v everywhere", i, want.mean)
			}
			continue
		}
		if math.Abs(mean-want.mean) > 0.05*want.deviation || math.Abs(deviation-want.deviation) > 0.03*want.deviation || largest > want.largest+1e-6 {
			t.Errorf("tensor %d: mean %v, deviation %v, largest %v, want %+v", i, mean, deviation, largest, want)
		}
	}
	p := ops.NewParams(dev, ops.F32)
	p.Add("w", 2, 3)
	for _, c := range []struct {
		start nn.Init
		want  string
	}{
		{nn.Init{}, "has no memory"}, // before Alloc
		{nn.Init{Mean: math.NaN()}, "w f32[2 3]: field Mean is NaN"},
		{nn.Init{Deviation: -1}, "field Deviation is -1"},
		{nn.Init{Deviation: math.Inf(1)}, "field Deviation is +Inf"},
		{nn.Init{Deviation: 1, Limit: -3}, "field Limit is -3"},
		{nn.Init{Deviation: 1, Limit: 1e-9}, "field Limit is 1e-09, want 0 or at least 0.1"},
	} {
		err := nn.Initialize(ctx, p, 1, func(*ops.Tensor) nn.Init { return c.start })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.start, err, c.want)
		}
	}
}

// Values that their storage type has no number for would be infinities.
func TestInitializeInRange(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		dt    ops.DType
		start nn.Init
		want  string
	}{
		{ops.F16, nn.Init{Mean: 65504}, ""},
		{ops.F16, nn.Init{Mean: -65520}, "w f16[2 3]: mean -65520 and deviation 0 give values of more than f16 can hold"},
		{ops.F16, nn.Init{Deviation: 1e6}, "more than f16 can hold"},
		{ops.BF16, nn.Init{Mean: 3.38e38}, ""},
		{ops.BF16, nn.Init{Mean: math.MaxFloat32}, "more than bf16 can hold"},
		{ops.F32, nn.Init{Mean: math.MaxFloat32}, ""},
		{ops.F32, nn.Init{Mean: 1e40}, "more than f32 can hold"},
	} {
		p := ops.NewParams(dev, c.dt)
		p.Add("w", 2, 3)
		must(t, p.Alloc())
		t.Cleanup(p.Release)
		err := nn.Initialize(ctx, p, 1, func(*ops.Tensor) nn.Init { return c.start })
		if c.want == "" {
			must(t, err)
		} else {
			wantError(t, "Initialize", err, c.want)
		}
	}
}
