package nn_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// TestGenerate compares greedy generation past the end of the cache with the
// likeliest tokens of whole passes over what the cache must hold; a window, which has
// no cache, goes on in the same way.
func TestGenerate(t *testing.T) {
	dev := vktest.Open(t)
	c := llama()
	m := transformer(t, dev, ops.F32, c)
	const length, n = 10, 19
	d, err := nn.NewSequence(m, length)
	must(t, err)
	defer d.Close()
	w, err := nn.NewWindow(m, length)
	must(t, err)
	defer w.Close()
	for _, prompt := range [][]int32{{3}, {1, 2, 3, 4, 5, 6, 7}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12, 13}} {
		var want []int32
		known := slices.Clone(prompt[max(0, len(prompt)-length):])
		for range n {
			if len(known) > length {
				known = known[len(known)-length/2:]
			}
			all := logits(t, dev, m, known)
			last := all[len(all)-c.Vocab:]
			id := int32(slices.Index(last, slices.Max(last)))
			want, known = append(want, id), append(known, id)
		}
		for _, s := range []nn.Sequence{d, w} {
			var got []int32
			must(t, nn.Generate(ctx, s, &nn.Sampler{}, prompt, n, func(id int32) error { got = append(got, id); return nil }))
			if !slices.Equal(got, want) {
				t.Errorf("%T after %v: got %v, want %v", s, prompt, got, want)
			}
		}
	}
}

// unscored is a model whose logits are of another shape than they must have.
type unscored struct{ *nn.Transformer }

func (m unscored) Logits(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	return g.View(m.Transformer.Logits(g, x), x.Len(), 37)
}

func TestWindowErrors(t *testing.T) {
	m := transformer(t, vktest.Open(t), ops.F32, cs336())
	for want, model := range map[string]nn.Logits{"want a model": nil, "logits are f32[4 37], want (1, 4, V)": unscored{m}} {
		_, err := nn.NewWindow(model, 4)
		wantError(t, "NewWindow", err, want)
	}
	w, err := nn.NewWindow(m, 4)
	must(t, err)
	for want, tokens := range map[string][]int32{"no token": nil, "0 positions and 5 more, it has 4": {1, 2, 3, 4, 5}, "token 37 is outside": {37}} {
		_, err := w.Next(ctx, tokens)
		wantError(t, "Next", err, want)
	}
	must(t, w.Close())
	_, err = w.Next(ctx, []int32{1})
	wantError(t, "Next after Close", err, "it is closed")
}

func TestGenerateEnds(t *testing.T) {
	m := transformer(t, vktest.Open(t), ops.F32, cs336())
	d, err := m.NewDecoder(1) // the smallest: each token is a new sequence
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop, full := errors.New("stop"), errors.New("full")
	for _, c := range []struct {
		prompt []int32
		at     int // tokens after which emit does something
		do     func() error
		tokens int
		want   string
	}{
		{[]int32{1}, 0, nil, 5, ""},
		{nil, 0, nil, 0, "no token"},
		{[]int32{1, 37}, 0, nil, 0, "token 37 is outside the vocabulary of 37"},
		{[]int32{-1}, 0, nil, 0, "token -1 is outside"},
		{[]int32{1, 2, 3}, 2, func() error { return full }, 2, "full"},
		{[]int32{1}, 3, func() error { cancel(stop); return nil }, 3, "stop"},
	} {
		tokens := 0
		err := nn.Generate(ctx, d, &nn.Sampler{Temperature: 1}, c.prompt, 5, func(int32) error {
			if tokens++; tokens == c.at {
				return c.do()
			}
			return nil
		})
		if tokens != c.tokens || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("prompt %v: %d tokens and %v, want %d and %q", c.prompt, tokens, err, c.tokens, c.want)
		}
	}
}
