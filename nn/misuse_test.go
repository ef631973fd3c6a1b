package nn_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

func wantError(t testing.TB, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}

func TestNilArguments(t *testing.T) {
	const noDevice = "the device is nil: open one with vk.Open"
	_, err := nn.NewTransformer(nil, ops.F32, llama(), 1)
	wantError(t, "NewTransformer", err, "nn: transformer: ops: params: "+noDevice)
	_, err = nn.ReserveTransformer(nil, ops.F32, llama())
	wantError(t, "ReserveTransformer", err, "nn: transformer: ops: params: "+noDevice)
	_, err = nn.NewBigram(nil, ops.F32, 7)
	wantError(t, "NewBigram", err, "nn: bigram of 7 tokens: ops: params: "+noDevice)
	wantError(t, "Initialize", nn.Initialize(ctx, nil, 1, nn.Xavier), "nn: initialize: the parameters")

	dev := vktest.Open(t)
	m := transformer(t, dev, ops.F32, llama())
	wantError(t, "Initialize", nn.Initialize(ctx, m.Params(), 1, nil), "nn: initialize: the parameters or start is nil")
	d, err := m.NewDecoder(4)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, emit := &nn.Sampler{}, func(int32) error { return nil }
	for what, err := range map[string]error{
		"decoder": nn.Generate(ctx, nil, s, []int32{1}, 1, emit),
		"sampler": nn.Generate(ctx, d, nil, []int32{1}, 1, emit),
		"emit":    nn.Generate(ctx, d, s, []int32{1}, 1, nil),
	} {
		wantError(t, "Generate without "+what, err, "nn: generate: the sequence, the sampler or emit is nil")
	}
	wantError(t, "Generate", nn.Generate(ctx, d, s, []int32{1}, -1, emit), "nn: generate: -1 tokens, want at least 0")
	larger := &nn.Sampler{Vocab: llama().Vocab + 1}
	wantError(t, "Generate", nn.Generate(ctx, d, larger, []int32{1}, 1, emit), fmt.Sprintf("vocab is %d, the model has only %d logits", larger.Vocab, llama().Vocab))
	if g := ops.NewGraph(nil); m.Loss(g, nil, nil) == nil || g.Err() == nil {
		t.Errorf("Loss in a graph without a device: %v", g.Err())
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := m.Initialize(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Initialize after the context ended: %v", err)
	}
}

// Parameters counts what a model declares, whatever its structure.
func TestParameters(t *testing.T) {
	dev := vktest.Open(t)
	for _, tied := range []bool{false, true} {
		for _, bias := range []bool{false, true} {
			for _, norm := range []string{"rmsnorm", "layernorm"} {
				for _, activation := range []string{"swiglu", "gelu"} {
					for _, positions := range []string{"rope", "learned"} {
						c := llama()
						c.Tied, c.Bias, c.Norm, c.Activation, c.Positions = tied, bias, norm, activation, positions
						m, err := nn.ReserveTransformer(dev, ops.F32, c)
						if err != nil {
							t.Fatal(err)
						}
						var want int64
						for _, p := range m.Params().All() {
							want += int64(p.Len())
						}
						if got := c.Parameters(); got != want {
							t.Errorf("%+v: %d parameters, want %d", c, got, want)
						}
						m.Params().Release()
					}
				}
			}
		}
	}
	c := llama()
	c.Layers, c.FFN = math.MaxInt32, math.MaxInt32
	if got := c.Parameters(); got < 1<<62 {
		t.Errorf("%d parameters, want more", got)
	}
	c.Vocab = math.MaxInt32
	if _, err := nn.NewTransformer(dev, ops.BF16, c, 1); !errors.Is(err, vk.ErrOutOfMemory) {
		t.Errorf("a model that is too large: %v, want ErrOutOfMemory", err)
	}
	p := ops.NewParams(dev, ops.F32)
	if got, want := nn.Xavier(p.Add("scalar")), (nn.Init{Deviation: 1, Limit: 3}); got != want {
		t.Errorf("a scalar starts as %+v, want %+v", got, want)
	}
	c = llama()
	c.NormEps = 1e-60
	wantError(t, "an epsilon that is 0 in f32", c.Validate(), "norm_eps is 1e-60")
}
