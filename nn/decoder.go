package nn

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
)

// Decoder continues one sequence. The keys and values of all positions so far
// stay on the device, so each new token costs one pass of one position.
type Decoder struct {
	m      *Transformer
	layers []*layerCache // keys and values, shared by both passes
	prompt *decoderPass  // promptChunk positions at a time
	one    *decoderPass
	length int // positions the cache holds
	used   int
	logits []float32 // (V)
}

// promptChunk is how many positions of a prompt go through the model at a time.
const promptChunk = 32

// decoderPass is the recorded forward pass of a fixed number of positions.
type decoderPass struct {
	step   *ops.Step
	tokens *ops.Tensor // i32 (1, T)
	places *ops.Tensor // i32 (1, T); nil with RoPE
	start  *ops.Tensor // u32 (4): the first position
	last   *ops.Tensor // i32 (1): whose logits are wanted
	logits *ops.Tensor // (1, V)
	t      int
}

// cache is what a pass reads and extends.
type cache struct {
	layers []*layerCache
	places *ops.Tensor
	start  *ops.Tensor
	length int
}

// layerCache is the cache of one block.
type layerCache struct {
	keys, values *ops.Tensor // (1, C, K, S)
	start        *ops.Tensor
	length       int
}

func (c *cache) layer(i int) *layerCache {
	return &layerCache{keys: c.layers[i].keys, values: c.layers[i].values, start: c.start, length: c.length}
}

// attention stores the new keys and values, then looks at all there are.
func (c *layerCache) attention(g *ops.Graph, q, k, v *ops.Tensor) *ops.Tensor {
	g.StoreRows(c.keys, k, c.start)
	g.StoreRows(c.values, v, c.start)
	return g.Attention(q, c.keys, c.values, &ops.AttentionOptions{Start: c.start})
}

// NewDecoder allocates a cache of length positions, at most the model's
// context, and records the passes. Close frees them; the model stays.
func (m *Transformer) NewDecoder(length int) (*Decoder, error) {
	if length < 1 || length > m.cfg.Context {
		return nil, fmt.Errorf("nn: decoder of %d positions, want 1 to %d", length, m.cfg.Context)
	}
	d := &Decoder{m: m, length: length, logits: make([]float32, m.cfg.Vocab)}
	if err := d.build(); err != nil {
		d.Close()
		return nil, fmt.Errorf("nn: decoder: %w", err)
	}
	return d, nil
}

func (d *Decoder) build() (err error) {
	c, p := d.m.cfg, d.m.params
	chunk := min(promptChunk, d.length)
	// A chunk may reach past the end with positions nobody asked for.
	rows := d.length + chunk
	for range c.Layers {
		l := &layerCache{}
		d.layers = append(d.layers, l)
		for _, t := range []**ops.Tensor{&l.keys, &l.values} {
			if *t, err = ops.NewTensor(p.Device(), p.DType(), 1, rows, c.KVHeads, c.HeadSize); err != nil {
				return err
			}
		}
	}
	if d.one, err = d.record(1, rows); err != nil {
		return err
	}
	d.prompt, err = d.record(chunk, rows)
	return err
}

func (d *Decoder) record(t, rows int) (*decoderPass, error) {
	g := ops.NewGraph(d.m.params.Device())
	p := &decoderPass{t: t, tokens: g.Input("tokens", ops.I32, 1, t), start: g.Input("start", ops.U32, 4), last: g.Input("last", ops.I32, 1)}
	if d.m.positions != nil {
		p.places = g.Input("positions", ops.I32, 1, t)
	}
	h := d.m.hidden(g, p.tokens, &cache{layers: d.layers, places: p.places, start: p.start, length: rows})
	h = g.Embed(g.View(h, t, d.m.cfg.Width), p.last)
	p.logits = g.Cast(g.Linear(h, d.m.head, nil), ops.F32)
	g.Output(p.logits)
	var err error
	p.step, err = g.Compile()
	return p, err
}

// Len returns how many positions the sequence has.
func (d *Decoder) Len() int { return d.used }

// Cap returns how many positions the sequence may have.
func (d *Decoder) Cap() int { return d.length }

// Next appends tokens to the sequence and returns the logits (V) of the token
// after the last one; the slice is valid until the next call. It is an error
// when the sequence would become longer than the cache: Reset, and go on from
// the part of it that matters.
func (d *Decoder) Next(ctx context.Context, tokens []int32) ([]float32, error) {
	switch {
	case d.prompt == nil:
		return nil, fmt.Errorf("nn: decoder: it is closed")
	case len(tokens) == 0:
		return nil, fmt.Errorf("nn: decoder: no token")
	case d.used+len(tokens) > d.length:
		return nil, fmt.Errorf("nn: decoder: %d positions and %d more, the cache holds %d", d.used, len(tokens), d.length)
	}
	if err := checkTokens(tokens, d.m.cfg.Vocab); err != nil {
		return nil, fmt.Errorf("nn: decoder: %w", err)
	}
	for len(tokens) > 0 {
		p := d.prompt
		if len(tokens) == 1 {
			p = d.one
		}
		n := min(p.t, len(tokens))
		if err := p.run(ctx, tokens[:n], d.used, d.m.cfg.Context, d.logits); err != nil {
			return nil, fmt.Errorf("nn: decoder: %w", err)
		}
		d.used, tokens = d.used+n, tokens[n:]
	}
	return d.logits, nil
}

// run puts tokens at positions from start on. What the pass computes beyond
// them is overwritten before anything looks at it.
func (p *decoderPass) run(ctx context.Context, tokens []int32, start, context int, logits []float32) error {
	ids, places := make([]int32, p.t), make([]int32, p.t)
	copy(ids, tokens)
	for i := range places {
		places[i] = int32(min(start+i, context-1))
	}
	for _, in := range []struct {
		t *ops.Tensor
		v []int32
	}{{p.tokens, ids}, {p.places, places}, {p.last, []int32{int32(len(tokens) - 1)}}} {
		if in.t == nil {
			continue
		}
		if err := ops.Upload(ctx, in.t, in.v); err != nil {
			return err
		}
	}
	if err := ops.Upload(ctx, p.start, []uint32{uint32(start), 0, 0, 0}); err != nil {
		return err
	}
	if err := p.step.Run(); err != nil {
		return err
	}
	if err := p.step.Wait(ctx); err != nil {
		return err
	}
	return ops.Download(ctx, p.logits, logits)
}

// Reset empties the sequence.
func (d *Decoder) Reset() { d.used = 0 }

// Close waits for the device and frees the cache and the recorded passes.
func (d *Decoder) Close() error {
	var err error
	for _, p := range []*decoderPass{d.one, d.prompt} {
		if p != nil && p.step != nil {
			err = p.step.Close()
		}
	}
	for _, l := range d.layers {
		l.keys.Release()
		l.values.Release()
	}
	d.layers, d.one, d.prompt = nil, nil, nil
	return err
}
