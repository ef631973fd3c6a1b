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

var shapes = [][]int{{}, {1}, {3}, {4}, {5}, {2, 3}, {3, 4}, {7, 1}, {2, 3, 5}, {1, 2, 1, 9}}

// roundTrip uploads n values to a tensor of every shape and reads them back.
func roundTrip[T ops.Number](t *testing.T, dev *vk.Device, dt ops.DType, value func(i int) T) {
	t.Run(fmt.Sprintf("%T in %s", value(0), dt), func(t *testing.T) {
		for _, shape := range shapes {
			x := tensor[T](t, dev, dt, shape, nil)
			data := make([]T, x.Len())
			for i := range data {
				data[i] = value(i)
			}
			got := make([]T, len(data))
			if err := ops.Upload(ctx, x, data); err != nil {
				t.Fatal(err)
			}
			if err := ops.Download(ctx, x, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, data) {
				t.Errorf("%v: have %v, want %v", x, got, data)
			}

			// The same by way of an input and an output of a graph.
			g := ops.NewGraph(dev)
			in := g.Input("x", dt, shape...)
			g.Output(in)
			if err := ops.Upload(ctx, in, data); err != nil {
				t.Fatal(err)
			}
			s := run(t, g)
			clear(got)
			if err := ops.Download(ctx, in, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, data) {
				t.Errorf("input %v: have %v, want %v", x, got, data)
			}
			clear(got)
			if n, err := ops.Completed(s, in, got); n != 1 || err != nil || !slices.Equal(got, data) {
				t.Errorf("completed %v: run %d, %v (%v), want %v", x, n, got, err, data)
			}
		}
	})
}

func TestTransferRoundTrips(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		roundTrip(t, dev, dt, func(i int) float32 { return float32(i) - 2.5 })
	}
	roundTrip(t, dev, ops.F16, func(i int) uint16 { return uint16(i*977 + 0x3c00) })
	roundTrip(t, dev, ops.BF16, func(i int) uint16 { return uint16(i*977 + 0x3f80) })
	roundTrip(t, dev, ops.U16, func(i int) uint16 { return uint16(i * 7919) })
	roundTrip(t, dev, ops.I32, func(i int) int32 { return int32(i*1e8 - 5) })
	roundTrip(t, dev, ops.U32, func(i int) uint32 { return uint32(i) * 0x9e3779b9 })
}

func TestNewTensorIsZero(t *testing.T) {
	dev := vktest.Open(t)
	for _, dt := range floats {
		opstest.Close(t, values(t, tensor[float32](t, dev, dt, []int{3, 5}, nil)), make([]float32, 15), 0)
	}
}

// Every 16-bit value, and around each the float32 values where rounding turns.
func TestMixedPrecisionConversionsOnHost(t *testing.T) {
	for _, c := range []struct {
		name         string
		to, wantTo   func(float32) uint16
		from, wanted func(uint16) float32
	}{
		{"f16", ops.ToF16, opstest.F16, ops.FromF16, opstest.F16ToF32},
		{"bf16", ops.ToBF16, opstest.BF16, ops.FromBF16, opstest.BF16ToF32},
	} {
		t.Run(c.name, func(t *testing.T) {
			for h := range 1 << 16 {
				f := c.from(uint16(h))
				if w := c.wanted(uint16(h)); f != w && !(f != f && w != w) {
					t.Fatalf("%#04x is %v, want %v", h, f, w)
				}
				for _, x := range aroundHalf(f, c.from(uint16(h+1))) {
					got, want := c.to(x), c.wantTo(x)
					if x != x {
						if back := c.from(got); back == back {
							t.Fatalf("NaN (%#08x) becomes %v", math.Float32bits(x), back)
						}
					} else if got != want {
						t.Fatalf("%v (%#08x) becomes %#04x, want %#04x", x, math.Float32bits(x), got, want)
					}
				}
			}
		})
	}
}

// aroundHalf returns a and the float32 numbers at and beside the middle between
// a and its neighbor b.
func aroundHalf(a, b float32) []float32 {
	mid := float32((float64(a) + float64(b)) / 2)
	return []float32{a, mid, math.Nextafter32(mid, a), math.Nextafter32(mid, b), math.Nextafter32(a, b)}
}

// The same on the device, through the cast kernels; a driver may take float32
// subnormals for zero, which bf16 alone can tell.
func TestMixedPrecisionConversionsOnDevice(t *testing.T) {
	dev := vktest.Open(t)
	var x []float32
	for h := range 1 << 16 {
		x = append(x, aroundHalf(opstest.F16ToF32(uint16(h)), opstest.F16ToF32(uint16(h+1)))...)
		x = append(x, aroundHalf(opstest.BF16ToF32(uint16(h)), opstest.BF16ToF32(uint16(h+1)))...)
	}
	x = slices.DeleteFunc(x, func(f float32) bool { return f != 0 && f < 0x1p-126 && f > -0x1p-126 })
	check := func(t *testing.T, x *ops.Tensor, dt ops.DType, want []float32) {
		t.Helper()
		g := ops.NewGraph(dev)
		y := g.Cast(x, dt)
		g.Output(y)
		run(t, g)
		opstest.Close(t, values(t, y), want, 0)
	}
	f32 := tensor(t, dev, ops.F32, []int{len(x)}, x)
	for _, dt := range []ops.DType{ops.F16, ops.BF16} {
		t.Run(dt.String(), func(t *testing.T) {
			rounded := opstest.Round(dt.String(), x)
			check(t, f32, dt, rounded)
			stored := tensor(t, dev, dt, []int{len(x)}, rounded)
			check(t, stored, ops.F32, rounded)
			other := ops.F16 + ops.BF16 - dt
			check(t, stored, other, opstest.Round(other.String(), rounded))
		})
	}
}

func TestTransferErrors(t *testing.T) {
	dev := vktest.Open(t)
	x := tensor[float32](t, dev, ops.F32, []int{2, 3}, nil)
	ids := tensor[int32](t, dev, ops.I32, []int{2}, nil)
	released := tensor[float32](t, dev, ops.F32, []int{2}, nil)
	released.Release()
	released.Release()
	g := ops.NewGraph(dev)
	middle := g.Scale(x, 2)
	out := g.Scale(middle, 2)
	g.Output(out)
	s := compile(t, g)
	six := make([]float32, 6)
	for _, c := range []struct {
		err  error
		want string
	}{
		{ops.Upload(ctx, x, make([]float32, 5)), "upload: 5 values for f32[2 3], which has 6"},
		{ops.Download(ctx, x, make([]float32, 7)), "download: 7 values for f32[2 3], which has 6"},
		{ops.Upload(ctx, x, make([]int32, 6)), "int32 values for a tensor of type f32"},
		{ops.Upload(ctx, x, make([]uint16, 6)), "uint16 values for a tensor of type f32"},
		{ops.Upload(ctx, ids, make([]float32, 2)), "float32 values for a tensor of type i32"},
		{ops.Upload(ctx, ids, make([]uint32, 2)), "uint32 values for a tensor of type i32"},
		{ops.Upload(ctx, released, make([]float32, 2)), "has no memory"},
		{ops.Download(ctx, released, make([]float32, 2)), "has no memory"},
		{ops.Upload(ctx, middle, six), "an intermediate of a graph"},
		{ops.Upload(ctx, out, six), "an intermediate of a graph"},
		{ops.Upload[float32](ctx, nil, nil), "no tensor"},
		{ops.Download(ctx, middle, six), "Graph.Output"},
		{ops.Download(ctx, out, six), "has not run yet"},
		{completed(s, middle, six), "not an output"},
		{completed(s, out, six[:1]), "1 values for"},
		{item(out), "Item wants one value, f32[2 3] has 6"},
		{newTensor(dev, ops.F32, 3, 0), "dimension 1 of f32[3 0] is 0"},
		{newTensor(dev, ops.F32, -1), "dimension 0 of f32[-1] is -1"},
		{newTensor(dev, ops.F32, 1<<31, 1<<33), "more than 2^32 values"},
		{newTensor(dev, ops.U16, 1<<40), "more than 2^32 values"},
		{newTensor(dev, ops.F32, math.MaxInt), "more than 2^32 values"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || !strings.HasPrefix(c.err.Error(), "ops: ") {
			t.Errorf("error %v, want %q", c.err, c.want)
		}
	}
}

func completed(s *ops.Step, t *ops.Tensor, dst []float32) error {
	_, err := ops.Completed(s, t, dst)
	return err
}

func item(t *ops.Tensor) error {
	_, err := ops.Item(ctx, t)
	return err
}

func newTensor(dev *vk.Device, dt ops.DType, shape ...int) error {
	x, err := ops.NewTensor(dev, dt, shape...)
	x.Release()
	return err
}
