package nn_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// hostChooses is a decoder whose logits the host chooses from.
type hostChooses struct{ nn.Sequence }

func decoder(t testing.TB, m *nn.Transformer, length int) *nn.Decoder {
	t.Helper()
	d, err := m.NewDecoder(length)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// Whether device or host chooses, the tokens are the same: past the end of the cache, in a second text of the same
// sampler, and after a text that was ended.
func TestGenerateOnTheDevice(t *testing.T) {
	dev := vktest.Open(t)
	for name, kind := range kinds {
		for _, dt := range []ops.DType{ops.F32, ops.BF16} {
			m := transformer(t, dev, dt, kind())
			d := decoder(t, m, 20)
			for _, s := range []nn.Sampler{{}, {Temperature: 1}, {Temperature: 3, TopK: 5}, {Temperature: 2, TopP: 0.8}, {Temperature: 9, TopK: 20, TopP: 0.9, Vocab: 30}} {
				t.Run(fmt.Sprintf("%s %s %v,%d,%v", name, dt, s.Temperature, s.TopK, s.TopP), func(t *testing.T) {
					text := func(d nn.Sequence, s nn.Sampler) (all []int32) {
						full := errors.New("full")
						for _, end := range []int{7, 1, 45} {
							n := 0
							err := nn.Generate(ctx, d, &s, []int32{3, 1, 2}, 45, func(id int32) error {
								all, n = append(all, id), n+1
								if n == end {
									return full
								}
								return nil
							})
							if n != end || !errors.Is(err, full) {
								t.Fatalf("%d tokens and %v, want %d", n, err, end)
							}
						}
						return all
					}
					got, want := text(d, s), text(hostChooses{d}, s)
					if !slices.Equal(got, want) {
						t.Errorf("the device chose\n%v, the host\n%v", got, want)
					}
				})
			}
		}
	}
}

// A text ends with its context, though the next token is on its way.
func TestGenerateOnTheDeviceEnds(t *testing.T) {
	d := decoder(t, transformer(t, vktest.Open(t), ops.F32, llama()), 40)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	n := 0
	err := nn.Generate(ctx, d, &nn.Sampler{}, []int32{1, 2}, 30, func(int32) error {
		if n++; n == 3 {
			cancel(stop)
		}
		return nil
	})
	if n != 3 || !errors.Is(err, stop) || d.Len() != 2+2 {
		t.Errorf("%d tokens, %d positions and %v, want 3, 4 and stop", n, d.Len(), err)
	}
	err = nn.Generate(ctx, d, &nn.Sampler{}, []int32{1, 2}, 30, func(int32) error { n++; return nil })
	if n != 3 || !errors.Is(err, stop) {
		t.Errorf("after the end: %d tokens and %v", n, err)
	}
}

func TestGenerateOnTheDeviceFindsNaN(t *testing.T) {
	m := transformer(t, vktest.Open(t), ops.F32, cs336())
	all := m.Params().All()
	head := all[len(all)-1] // (V, D)
	x := make([]float32, head.Len())
	must(t, ops.Download(ctx, head, x))
	x[5*m.Config().Width] = float32(math.NaN())
	must(t, ops.Upload(ctx, head, x))
	for _, s := range []*nn.Sampler{{}, {Temperature: 1}} {
		err := nn.Generate(ctx, decoder(t, m, 9), s, []int32{1}, 3, func(int32) error { return nil })
		wantError(t, "Generate", err, "nn: sampler: the logit of token 5 is NaN")
	}
}

// A token is one submission of few dispatches, and costs no memory.
func TestDecoderCosts(t *testing.T) {
	vktest.Slow(t, 0) // a device that others keep busy would cut a pass, see vk.Program.Settle
	dev := vktest.Open(t)
	generate := func(d *nn.Decoder, n int) {
		must(t, nn.Generate(ctx, d, &nn.Sampler{Temperature: 1, TopK: 9}, []int32{1, 2}, n, func(int32) error { return nil }))
	}
	for name, most := range map[string]struct{ layer, rest int }{"llama": {8, 5}, "gpt2": {8, 8}} {
		var counts [2]int
		for i, layers := range []int{1, 3} {
			c := kinds[name]()
			c.Layers, c.Width, c.FFN = layers, 128, 256 // which leave no gaps between parameters
			d := decoder(t, transformer(t, dev, ops.F32, c), 40)
			counts[i] = d.Step().Stats().Dispatches
			generate(d, 38) // the first passes are measured
			before := dev.Stats().Submissions
			generate(d, 38)
			if got := dev.Stats().Submissions - before; got != 38 {
				t.Errorf("%s of %d layers: %d submissions for 38 tokens", name, layers, got)
			}
			few, many := testing.AllocsPerRun(3, func() { generate(d, 2) }), testing.AllocsPerRun(3, func() { generate(d, 38) })
			if many > few {
				t.Errorf("%s of %d layers: %v allocations for 38 tokens, %v for 2", name, layers, many, few)
			}
		}
		layer := (counts[1] - counts[0]) / 2
		if rest := counts[0] - layer; layer > most.layer || rest > most.rest {
			t.Errorf("%s: %d dispatches a layer and %d others, want at most %d and %d", name, layer, rest, most.layer, most.rest)
		}
	}
}
