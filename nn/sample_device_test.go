package nn_test

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// logitsOf makes rows with what a choice may stumble over.
var logitsOf = map[string]func(v int) []float32{
	"spread":      func(v int) []float32 { return opstest.Uniform(1, v, 12) },
	"near":        func(v int) []float32 { return opstest.Uniform(2, v, 1e-3) },
	"far":         func(v int) []float32 { return opstest.Uniform(3, v, 3e38) },
	"subnormal":   func(v int) []float32 { return opstest.Uniform(4, v, 1e-38) },
	"equal":       func(v int) []float32 { return make([]float32, v) },
	"ties":        tied,
	"few":         fewPossible,
	"zeros":       func(v int) []float32 { return alternate(v, 0, float32(math.Copysign(0, -1))) },
	"two values":  func(v int) []float32 { return alternate(v, 1, 1+0x1p-23) },
	"all but one": func(v int) []float32 { return append(alternate(v-1, -inf, -inf), -3) },
}

func alternate(v int, a, b float32) []float32 {
	x := make([]float32, v)
	for i := range x {
		x[i] = []float32{a, b}[i%2]
	}
	return x
}

func tied(v int) []float32 {
	x := opstest.Uniform(5, v, 6)
	for i := range x {
		x[i] = float32(math.Round(float64(x[i])*2) / 2)
	}
	return x
}

func fewPossible(v int) []float32 {
	x := opstest.Uniform(6, v, 6)
	for i := range x {
		if i%7 != 0 {
			x[i] = -inf
		}
	}
	return x
}

// onDevice is a recorded choice.
type onDevice struct {
	step          *ops.Step
	logits, how   *ops.Tensor
	token, chosen *ops.Tensor
	vocab         int
}

func newOnDevice(t *testing.T, v int, dt ops.DType) *onDevice {
	t.Helper()
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	d := &onDevice{logits: g.Input("logits", dt, 1, v), how: g.Input("how", ops.U32, 8), vocab: v}
	var err error
	d.token, err = ops.NewTensor(dev, ops.I32, 1)
	must(t, err)
	d.chosen, err = ops.NewTensor(dev, ops.I32, 3, 2)
	must(t, err)
	g.Sample(d.logits, d.how, d.token, d.chosen)
	g.Output(d.chosen)
	d.step, err = g.Compile()
	must(t, err)
	t.Cleanup(func() {
		d.step.Close()
		d.token.Release()
		d.chosen.Release()
	})
	return d
}

// choose returns the token, and the row of results that the choice writes to.
func (d *onDevice) choose(t *testing.T, s *nn.Sampler) (token int32, result [2]int32) {
	t.Helper()
	how, err := nn.How(s, d.vocab, 2)
	must(t, err)
	return d.run(t, how)
}

func (d *onDevice) run(t *testing.T, how []uint32) (token int32, result [2]int32) {
	t.Helper()
	must(t, ops.Upload(ctx, d.how, how))
	must(t, d.step.Run())
	must(t, d.step.Wait(ctx))
	ids, all := make([]int32, 1), make([]int32, 6)
	_, err := ops.Completed(d.step, d.chosen, all)
	must(t, err)
	must(t, ops.Download(ctx, d.token, ids))
	return ids[0], [2]int32(all[4:])
}

// The device chooses what the host does, to the bit.
func TestSampleOnTheDevice(t *testing.T) {
	for _, dt := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
		vocabularies := []int{1, 2, 3, 5, 256, 257, 1000}
		switch {
		case dt == ops.F32:
			vocabularies = append(vocabularies, 50257)
		case dt == ops.BF16 && !testing.Short():
			vocabularies = append(vocabularies, 150_000)
		}
		for _, v := range vocabularies {
			t.Run(fmt.Sprint(dt, " ", v), func(t *testing.T) { testSampleOnTheDevice(t, v, dt) })
		}
	}
}

func testSampleOnTheDevice(t *testing.T, v int, dt ops.DType) {
	d := newOnDevice(t, v, dt)
	for name, logits := range logitsOf {
		x := logits(v)
		if dt == ops.F16 && name == "far" {
			continue // infinite in f16
		}
		must(t, ops.Upload(ctx, d.logits, x))
		if dt != ops.F32 {
			x = opstest.Round(dt.String(), x)
		}
		for _, s := range []nn.Sampler{
			{}, {Vocab: (v + 1) / 2}, {Temperature: 1}, {Temperature: 0.7, TopK: 1}, {Temperature: 0.7, TopK: 40}, {Temperature: 1.5, TopK: v + 9},
			{Temperature: 0.8, TopP: 0.95}, {Temperature: 1, TopP: 1e-300}, {Temperature: 1, TopP: 1 - 1e-12}, {Temperature: 2, TopK: 300, TopP: 0.5},
			{Temperature: 1e-300}, {Temperature: 1e300, TopK: 3}, {Temperature: 1e300, TopP: 0.3, Vocab: (v + 2) / 3},
		} {
			s.Seed = uint64(len(name))
			host, device := s, s
			for range 2 - min(v/10_000, 1) {
				want, hostErr := host.Next(x)
				token, got := d.choose(t, &device)
				if name == "all but one" && hostErr != nil { // Vocab leaves nothing
					if got[1] != ops.SampledNone || token != 0 {
						t.Errorf("%s, %+v: %d, %v, want nothing: %v", name, s, token, got, hostErr)
					}
					continue
				}
				must(t, hostErr)
				if got != [2]int32{want, 0} || token != want {
					t.Fatalf("%s, %+v: %d, %v on the device, %d on the host", name, s, token, got, want)
				}
			}
		}
	}
}

// Weights are the host's to the last unit: of two tokens the choice changes at the same random number, which two units of
// it would move.
func TestSampleOnTheDeviceWeights(t *testing.T) {
	d := newOnDevice(t, 2, ops.F32)
	for i := range 60 {
		s := &nn.Sampler{Temperature: 0.5 + float64(i%7)}
		x := []float32{3, 3 - float32(math.Pow(1.4, float64(i-40))*s.Temperature)} // up to 837 temperatures below
		must(t, ops.Upload(ctx, d.logits, x))
		how, err := nn.How(s, 2, 2)
		must(t, err)
		pick := func(random uint32) int32 {
			id, err := nn.Pick(s, x, random)
			must(t, err)
			return id
		}
		first := uint32(sort.Search(1<<32-1, func(r int) bool { return pick(uint32(r)) == 0 })) // the least likely comes first
		for _, random := range []uint32{max(first, 1) - 1, first} {
			how[3] = random
			if got, _ := d.run(t, how); got != pick(random) {
				t.Errorf("%v at temperature %v, random number %d: token %d, %d on the host", x, s.Temperature, random, got, pick(random))
			}
		}
	}
}

// Logits that nothing can be chosen from are told by the first that is wrong, as on the host.
func TestSampleOnTheDeviceErrors(t *testing.T) {
	const v = 300
	nan := float32(math.NaN())
	d := newOnDevice(t, v, ops.F32)
	for name, c := range map[string]struct {
		set  map[int]float32
		want [2]int32
		host string
	}{
		"NaN":         {map[int]float32{77: nan, 12: 1e30, 78: inf}, [2]int32{77, ops.SampledNaN}, "token 77 is NaN"},
		"-NaN":        {map[int]float32{298: math.Float32frombits(0xffc00001)}, [2]int32{298, ops.SampledNaN}, "token 298 is NaN"},
		"infinity":    {map[int]float32{299: nan, 298: inf}, [2]int32{298, ops.SampledInf}, "token 298 is +Inf"},
		"at 0":        {map[int]float32{0: inf, 1: inf}, [2]int32{0, ops.SampledInf}, "token 0 is +Inf"},
		"only -inf":   {nil, [2]int32{0, ops.SampledNone}, "every logit is -Inf"},
		"beyond them": {map[int]float32{5: 1}, [2]int32{5, 0}, ""},
	} {
		x := alternate(v, -inf, -inf)
		for i, value := range c.set {
			x[i] = value
		}
		must(t, ops.Upload(ctx, d.logits, x))
		for _, s := range []nn.Sampler{{}, {Temperature: 1, TopK: 4, TopP: 0.5}} {
			host := s
			_, err := host.Next(x)
			if (err != nil) != (c.host != "") || err != nil && !strings.Contains(err.Error(), c.host) {
				t.Errorf("%s: %v on the host, want %q", name, err, c.host)
			}
			token, got := d.choose(t, &s)
			if got[1] != c.want[1] || got[1] != ops.SampledNone && got[0] != c.want[0] || got[1] != 0 && token != 0 {
				t.Errorf("%s: %d, %v, want %v", name, token, got, c.want)
			}
		}
	}
}
