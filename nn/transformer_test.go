package nn_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// cs336 is a small model of the hand-out's kind; gpt2 and llama change it.
func cs336() nn.TransformerConfig {
	return nn.TransformerConfig{Vocab: 37, Context: 48, Layers: 2, Heads: 4, Width: 32, FFN: 44, Norm: "rmsnorm",
		NormEps: 1e-5, Activation: "swiglu", Positions: "rope", RopeTheta: 1e4, Init: "truncated_normal"}
}

func gpt2() nn.TransformerConfig {
	c := cs336()
	c.Norm, c.Activation, c.Positions, c.Tied, c.Bias, c.Init = "layernorm", "gelu_tanh", "learned", true, true, "gpt2"
	return c
}

func llama() nn.TransformerConfig {
	c := cs336()
	c.KVHeads, c.Positions, c.Tied = 2, "rope_half", true
	return c
}

// nemo has heads that its width can't be divided into.
func nemo() nn.TransformerConfig {
	c := llama()
	c.Width, c.HeadSize, c.Bias = 30, 12, true
	return c
}

var kinds = map[string]func() nn.TransformerConfig{"cs336": cs336, "gpt2": gpt2, "llama": llama, "nemo": nemo}

func transformer(t *testing.T, dev *vk.Device, dt ops.DType, c nn.TransformerConfig) *nn.Transformer {
	t.Helper()
	m, err := nn.NewTransformer(dev, dt, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Params().Release)
	return m
}

// logits are those of all positions of one sequence, row by row.
func logits(t *testing.T, dev *vk.Device, m *nn.Transformer, ids []int32) []float32 {
	t.Helper()
	g := ops.NewGraph(dev)
	x := g.Input("x", ops.I32, 1, len(ids))
	y := m.Logits(g, x)
	return runOnce(t, g, y, map[*ops.Tensor][]int32{x: ids})
}

// Inputs that are nil are an error of the graph, as in every operation.
func TestTransformerWithoutInputs(t *testing.T) {
	dev := vktest.Open(t)
	m := transformer(t, dev, ops.F32, cs336())
	for _, build := range []func(g *ops.Graph){func(g *ops.Graph) { m.Loss(g, nil, nil) }, func(g *ops.Graph) { m.Logits(g, nil) }} {
		g := ops.NewGraph(dev)
		build(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), "transformer: no inputs") {
			t.Errorf("error %v, want that there are no inputs", err)
		}
		g.Release()
	}
}

// A token must not change what was predicted before it.
func TestTransformerIsCausal(t *testing.T) {
	dev := vktest.Open(t)
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			c := kind()
			m := transformer(t, dev, ops.F32, c)
			ids := opstest.IDs(1, 20, c.Vocab)
			before := logits(t, dev, m, ids)
			const changed = 13
			ids[changed] = (ids[changed] + 1) % int32(c.Vocab)
			after := logits(t, dev, m, ids)
			for i := range before {
				if same := before[i] == after[i]; !same && i/c.Vocab < changed {
					t.Fatalf("logit %d of position %d changed with token %d", i%c.Vocab, i/c.Vocab, changed)
				}
			}
			if opstest.RelL2(before[changed*c.Vocab:], opstest.F64(after[changed*c.Vocab:])) == 0 {
				t.Error("the changed token changed nothing")
			}
		})
	}
}

// The decoder, token by token and with a long prompt, gives the logits of the whole sequence. In 16 bits that is so of all positions
// together: where logits are small two ways to round are further apart, on position 45 of nemo 4e-2. A position that were wrong
// would make 0.1 of them.
func TestDecoderAgreesWithTheWholeSequence(t *testing.T) {
	dev := vktest.Open(t)
	for name, kind := range kinds {
		for _, dt := range []ops.DType{ops.F32, ops.F16, ops.BF16} {
			t.Run(fmt.Sprint(name, " ", dt), func(t *testing.T) {
				c := kind()
				m := transformer(t, dev, dt, c)
				ids := opstest.IDs(2, c.Context, c.Vocab)
				want := opstest.F64(logits(t, dev, m, ids))
				tolerance := map[ops.DType]float64{ops.F32: 1e-5, ops.F16: 2e-2 / 8, ops.BF16: 2e-2}[dt]
				d, err := m.NewDecoder(c.Context)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				for _, prompt := range []int{1, 7, 40, c.Context} {
					d.Reset()
					var all []float32 // of the positions whose logits the decoder returns
					var wanted []float64
					for n := 0; n < len(ids); {
						take := max(1, prompt-n)
						got, err := d.Next(ctx, ids[n:n+take])
						if err != nil {
							t.Fatal(err)
						}
						n += take
						all, wanted = append(all, got...), append(wanted, want[(n-1)*c.Vocab:n*c.Vocab]...)
					}
					if e := opstest.RelL2(all, wanted); !(e <= tolerance) {
						t.Errorf("prompt of %d: relative error %g, want at most %g", prompt, e, tolerance)
					}
				}
				if _, err := d.Next(ctx, ids[:1]); err == nil || !strings.Contains(err.Error(), "holds 48") {
					t.Errorf("one position too many: %v, want an error that says how many there are", err)
				}
			})
		}
	}
}

func TestDecoderErrors(t *testing.T) {
	m := transformer(t, vktest.Open(t), ops.F32, cs336())
	for _, length := range []int{0, 49} {
		if _, err := m.NewDecoder(length); err == nil || !strings.Contains(err.Error(), "want 1 to 48") {
			t.Errorf("a decoder of %d positions: %v, want an error", length, err)
		}
	}
	d, err := m.NewDecoder(8)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Next(ctx, nil); err == nil {
		t.Error("no token: want an error")
	}
	if _, err := d.Next(ctx, []int32{37}); err == nil || !strings.Contains(err.Error(), "37") {
		t.Errorf("token 37 of 37: %v, want an error that names it", err)
	}
}

// A model with dropout trains with it or not at all.
func TestDropoutNeedsTrain(t *testing.T) {
	dev := vktest.Open(t)
	c := llama()
	c.Dropout = 0.1
	m := transformer(t, dev, ops.F32, c)
	for _, train := range []bool{false, true} {
		g := ops.NewGraph(dev)
		if train {
			g.Train(g.Input("random", ops.U32, 4))
		}
		loss := m.Loss(g, g.Input("x", ops.I32, 1, 4), g.Input("y", ops.I32, 1, 4))
		g.Backward(loss, nil)
		g.Output(loss)
		step, err := g.Compile()
		if train {
			if err != nil {
				t.Fatal(err)
			}
			step.Close()
			continue
		}
		wantError(t, "Compile", err, "call Graph.Train before it")
		wantError(t, "Compile", err, "Dropout (at transformer_test.go:")
	}
}

// Initial values have the deviations that their recipe asks for, and the same seed gives the same ones.
func TestInitialization(t *testing.T) {
	dev := vktest.Open(t)
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			c := kind()
			c.Width, c.FFN = 64, 160
			a, b := transformer(t, dev, ops.F32, c), transformer(t, dev, ops.F32, c)
			for i, p := range a.Params().All() {
				got := download(t, p)
				if opstest.RelL2(got, opstest.F64(download(t, b.Params().All()[i]))) != 0 {
					t.Errorf("%s differs between two models of one seed", p.Name())
				}
				mean, deviation, largest := moments(got)
				switch want := wantDeviation(c, p); {
				case want == 0:
					wanted := 0.0
					if strings.HasSuffix(p.Name(), ".weight") {
						wanted = 1
					}
					if mean != wanted || deviation != 0 {
						t.Errorf("%s has mean %v and deviation %v, want %v everywhere", p.Name(), mean, deviation, wanted)
					}
				case math.Abs(deviation-want) > 0.06*want || math.Abs(mean) > 0.1*want:
					t.Errorf("%s has mean %v and deviation %v, want 0 and %v", p.Name(), mean, deviation, want)
				case c.Init == "truncated_normal" && largest > 3.1*want:
					t.Errorf("%s has a value of %v, want it cut off at three times %v", p.Name(), largest, want)
				}
			}
			loss := firstLoss(t, dev, a, c)
			if c.Init == "gpt2" && math.Abs(loss-math.Log(float64(c.Vocab))) > 0.1 {
				t.Errorf("the first loss is %v, want about log %d = %v", loss, c.Vocab, math.Log(float64(c.Vocab)))
			}
		})
	}
}

// wantDeviation is 0 for parameters that are not drawn. Cut off at three, a
// normal distribution has 0.987 of its deviation.
func wantDeviation(c nn.TransformerConfig, p *ops.Tensor) float64 {
	name, shape := p.Name(), p.Shape()
	switch {
	case len(shape) == 1:
		return 0
	case c.Init == "gpt2" && (strings.Contains(name, "output_proj") || strings.Contains(name, "w2")):
		return 0.02 / 2 // √(2·2 layers)
	case c.Init == "gpt2":
		return 0.02
	case strings.Contains(name, "embeddings") && !c.Tied:
		return 0.987
	}
	return 0.987 * math.Sqrt(2/float64(shape[0]+shape[1]))
}

func firstLoss(t *testing.T, dev *vk.Device, m *nn.Transformer, c nn.TransformerConfig) float64 {
	t.Helper()
	g := ops.NewGraph(dev)
	x, y := g.Input("x", ops.I32, 2, 9), g.Input("y", ops.I32, 2, 9)
	loss := m.Loss(g, x, y)
	ids := map[*ops.Tensor][]int32{x: opstest.IDs(3, 18, c.Vocab), y: opstest.IDs(4, 18, c.Vocab)}
	return float64(runOnce(t, g, loss, ids)[0])
}

// runOnce compiles g, runs it with the given ids and returns the values of out.
func runOnce(t *testing.T, g *ops.Graph, out *ops.Tensor, ids map[*ops.Tensor][]int32) []float32 {
	t.Helper()
	g.Output(out)
	step, err := g.Compile()
	must(t, err)
	defer step.Close()
	for in, v := range ids {
		must(t, ops.Upload(ctx, in, v))
	}
	must(t, step.Run())
	return download(t, out)
}

func download(t *testing.T, p *ops.Tensor) []float32 {
	t.Helper()
	x := make([]float32, p.Len())
	must(t, ops.Download(ctx, p, x))
	return x
}

func moments(x []float32) (mean, deviation, largest float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
		largest = max(largest, math.Abs(float64(v)))
	}
	for _, v := range x {
		deviation += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, math.Sqrt(deviation), largest
}

func TestTransformerConfigErrors(t *testing.T) {
	for want, change := range map[string]func(c *nn.TransformerConfig){
		"vocab is 0":                           func(c *nn.TransformerConfig) { c.Vocab = 0 },
		"max_context is 0":                     func(c *nn.TransformerConfig) { c.Context = 0 },
		"layers is -1":                         func(c *nn.TransformerConfig) { c.Layers = -1 },
		"heads is 0":                           func(c *nn.TransformerConfig) { c.Heads = 0 },
		"width is 30":                          func(c *nn.TransformerConfig) { c.Width = 30 },
		"heads 4: head_size is 6, want a mul":  func(c *nn.TransformerConfig) { c.Width = 24 },
		"heads 4: head_size is 260":            func(c *nn.TransformerConfig) { c.Width = 1040 },
		"head_size is 6, want a multiple":      func(c *nn.TransformerConfig) { c.HeadSize = 6 },
		"head_size is 260, want a multiple":    func(c *nn.TransformerConfig) { c.HeadSize = 260 },
		"head_size is -4":                      func(c *nn.TransformerConfig) { c.HeadSize = -4 },
		"heads is 536870912 and head_size 4":   func(c *nn.TransformerConfig) { c.Heads, c.HeadSize = 1<<29, 4 },
		"kv_heads is 3":                        func(c *nn.TransformerConfig) { c.KVHeads = 3 },
		"kv_heads is -1":                       func(c *nn.TransformerConfig) { c.KVHeads = -1 },
		"norm_eps is 0":                        func(c *nn.TransformerConfig) { c.NormEps = 0 },
		"norm_eps is 1e+39":                    func(c *nn.TransformerConfig) { c.NormEps = 1e39 },
		"rope_theta is NaN":                    func(c *nn.TransformerConfig) { c.RopeTheta = math.NaN() },
		"rope_theta is 0":                      func(c *nn.TransformerConfig) { c.RopeTheta = 0 },
		"rope_theta is -1":                     func(c *nn.TransformerConfig) { c.RopeTheta, c.Positions = -1, "learned" },
		"dropout is 1":                         func(c *nn.TransformerConfig) { c.Dropout = 1 },
		`norm is "batchnorm", want rmsnorm or`: func(c *nn.TransformerConfig) { c.Norm = "batchnorm" },
		`activation is ""`:                     func(c *nn.TransformerConfig) { c.Activation = "" },
		`positions is "rope ro"`:               func(c *nn.TransformerConfig) { c.Positions = "rope ro" },
		`positions is "or"`:                    func(c *nn.TransformerConfig) { c.Positions = "or" },
		`init is "zero"`:                       func(c *nn.TransformerConfig) { c.Init = "zero" },
	} {
		c := cs336()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want an error with %q", err, want)
		}
		_, err := nn.ReserveTransformer(nil, ops.F32, c)
		wantError(t, "ReserveTransformer", err, "nn: transformer: ")
		wantError(t, "ReserveTransformer", err, want)
	}
}

// Heads of a size of their own: parameters are as many as are counted, and the width need not be a multiple of the heads.
func TestHeadSize(t *testing.T) {
	dev := vktest.Open(t)
	for name, kind := range kinds {
		c := kind()
		if same := c.Resolved(); same.HeadSize != c.Width/c.Heads && c.HeadSize == 0 || same.Resolved() != same {
			t.Errorf("%s: resolved to %+v", name, same)
		}
		m := transformer(t, dev, ops.F32, c)
		var n int64
		for _, p := range m.Params().All() {
			n += int64(p.Len())
		}
		if n != c.Parameters() {
			t.Errorf("%s: %d parameters, counted as %d", name, n, c.Parameters())
		}
	}
	m := transformer(t, dev, ops.F32, nemo())
	for name, want := range map[string][]int{"q_proj.weight": {48, 30}, "k_proj.bias": {24}, "v_proj.weight": {24, 30}, "output_proj.weight": {30, 48}, "output_proj.bias": {30}} {
		if p := m.Params().ByName("layers.1.attn." + name); !slices.Equal(p.Shape(), want) {
			t.Errorf("%s is %v, want %v", name, p.Shape(), want)
		}
	}
	if m.Config() != nemo().Resolved() {
		t.Errorf("the model's structure is %+v", m.Config())
	}
}

func TestTransformerRefusesTooLongSequences(t *testing.T) {
	dev := vktest.Open(t)
	m := transformer(t, dev, ops.F32, cs336())
	g := ops.NewGraph(dev)
	m.Logits(g, g.Input("x", ops.I32, 1, 49))
	if _, err := g.Compile(); err == nil || !strings.Contains(err.Error(), "at most 48") {
		t.Errorf("49 positions of 48: %v, want an error", err)
	}
}

// The head goes through the positions in parts: no memory of a step is as large as all logits.
func TestLossNeverHoldsAllLogits(t *testing.T) {
	dev := vktest.Open(t)
	c := cs336()
	c.Vocab, c.Context, c.Layers, c.Width = 8192, 256, 1, 16
	m := transformer(t, dev, ops.F32, c)
	const batch = 8
	g := ops.NewGraph(dev)
	defer g.Release()
	loss := m.Loss(g, g.Input("x", ops.I32, batch, c.Context), g.Input("y", ops.I32, batch, c.Context))
	g.Backward(loss, nil)
	plan, err := g.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if all := int64(4 * batch * c.Context * c.Vocab); plan.Arena >= all/2 {
		t.Errorf("%d bytes of intermediates, all logits would be %d", plan.Arena, all)
	}
}
