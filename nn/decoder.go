package nn

import (
	"context"
	"errors"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
)

// Decoder continues one sequence. The keys and values of all positions so far
// stay on the device, so each new token costs one pass of one position. [Generate]
// has the device choose the token too, and hand it to the next pass.
type Decoder struct {
	m       *Transformer
	layers  []*layerCache // keys and values, shared by all passes
	length  int           // positions the cache holds
	used    int
	scores  passes      // whose logits Next returns, made when they are first asked for
	choices passes      // that choose a token
	token   *ops.Tensor // i32 (1, 1): the one chosen last
	chosen  *ops.Tensor // i32 (chosenRows, 2): see [ops.Graph.Sample]

	// What passes read and left, kept so that none allocates.
	start  []uint32
	how    []uint32
	last   []int32
	result []int32   // chosen
	logits []float32 // (V)
}

// promptChunk is how many positions of a prompt go through the model at a time.
const promptChunk = 32

// passes are those of a part of a prompt, and of one token.
type passes struct{ prompt, one *decoderPass }

// decoderPass is the recorded forward pass of a fixed number of positions.
type decoderPass struct {
	step   *ops.Step
	tokens *ops.Tensor // i32 (1, T)
	places *ops.Tensor // i32 (1, T); nil with RoPE
	start  *ops.Tensor // u32 (4): the first position
	last   *ops.Tensor // i32 (1): after which position a token is wanted; nil where there is one
	logits *ops.Tensor // f32 (1, V); nil where the device chooses
	how    *ops.Tensor // u32 (8): how to choose, for [ops.Graph.Sample]; nil with logits

	ids, positions []int32 // of tokens and places
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

// packed is attention of qkv (B, T, H+2K, S), the heads of q, k and v in block b.
func (c *layerCache) packed(g *ops.Graph, qkv *ops.Tensor, b *block) *ops.Tensor {
	if b.m.positions == nil {
		q := g.RoPEStored(c.keys, c.values, qkv, b.ropeOptions(c))
		return g.Attention(q, c.keys, c.values, &ops.AttentionOptions{Start: c.start})
	}
	g.StorePacked(c.keys, c.values, qkv, c.start)
	return g.Attention(qkv, c.keys, c.values, &ops.AttentionOptions{Packed: b.m.cfg.KVHeads, Start: c.start})
}

// NewDecoder allocates a cache of length positions, at most the model's
// context, and records the passes. Close frees them; the model stays.
func (m *Transformer) NewDecoder(length int) (*Decoder, error) {
	if length < 1 || length > m.cfg.Context {
		return nil, fmt.Errorf("nn: decoder of %d positions, want 1 to %d", length, m.cfg.Context)
	}
	d := &Decoder{m: m, length: length, start: make([]uint32, 4), how: make([]uint32, 8), last: make([]int32, 1), result: make([]int32, 2*chosenRows)}
	if err := d.build(); err != nil {
		d.Close()
		return nil, fmt.Errorf("nn: decoder: %w", err)
	}
	return d, nil
}

func (d *Decoder) build() (err error) {
	c, p := d.m.cfg, d.m.params
	for range c.Layers {
		l := &layerCache{}
		d.layers = append(d.layers, l)
		for _, t := range []**ops.Tensor{&l.keys, &l.values} {
			if *t, err = ops.NewTensor(p.Device(), p.DType(), 1, d.rows(), c.KVHeads, c.HeadSize); err != nil {
				return err
			}
		}
	}
	if d.token, err = ops.NewTensor(p.Device(), ops.I32, 1, 1); err != nil {
		return err
	}
	if d.chosen, err = ops.NewTensor(p.Device(), ops.I32, chosenRows, 2); err != nil {
		return err
	}
	return d.record(&d.choices, true)
}

// chunk is how many positions of a prompt go through the model at a time.
func (d *Decoder) chunk() int { return min(promptChunk, d.length) }

// rows is how many positions the cache has: a chunk may reach past the end with
// positions nobody asked for.
func (d *Decoder) rows() int { return d.length + d.chunk() }

// record makes passes that choose a token, or else return logits.
func (d *Decoder) record(ps *passes, choose bool) (err error) {
	if ps.one, err = d.recordPass(1, choose); err != nil {
		return err
	}
	ps.prompt, err = d.recordPass(d.chunk(), choose)
	return err
}

func (d *Decoder) recordPass(t int, choose bool) (*decoderPass, error) {
	g := ops.NewGraph(d.m.params.Device())
	p := &decoderPass{start: g.Input("start", ops.U32, 4), ids: make([]int32, t)}
	if choose && t == 1 {
		p.tokens = d.token
	} else {
		p.tokens = g.Input("tokens", ops.I32, 1, t)
	}
	if d.m.positions != nil {
		p.places, p.positions = g.Input("positions", ops.I32, 1, t), make([]int32, t)
	}
	h := g.View(d.m.hidden(g, p.tokens, &cache{layers: d.layers, places: p.places, start: p.start, length: d.rows()}), t, d.m.cfg.Width)
	if t > 1 {
		p.last = g.Input("last", ops.I32, 1)
		h = g.Embed(h, p.last)
	}
	logits := g.Linear(h, d.m.head, nil) // (1, V)
	if choose {
		p.how = g.Input("how", ops.U32, 8)
		g.Sample(logits, p.how, d.token, d.chosen)
		g.Output(d.chosen)
	} else {
		p.logits = g.Cast(logits, ops.F32)
		g.Output(p.logits)
	}
	var err error
	p.step, err = g.Compile()
	return p, err
}

// Len returns how many positions the sequence has.
func (d *Decoder) Len() int { return d.used }

// Cap returns how many positions the sequence may have.
func (d *Decoder) Cap() int { return d.length }

// Vocab returns how many logits Next returns.
func (d *Decoder) Vocab() int { return d.m.cfg.Vocab }

// Step returns the recorded pass of a token in which the device chooses the next one,
// nil after Close. A run of it that [Generate] has not asked for leaves the sequence to
// be Reset.
func (d *Decoder) Step() *ops.Step {
	if d.choices.one == nil {
		return nil
	}
	return d.choices.one.step
}

// Next appends tokens to the sequence and returns the logits (V) of the token
// after the last one; the slice is valid until the next call. It is an error
// when the sequence would become longer than the cache: Reset, and go on from
// the part of it that matters.
func (d *Decoder) Next(ctx context.Context, tokens []int32) ([]float32, error) {
	p, err := d.next(ctx, tokens)
	if err != nil {
		return nil, fmt.Errorf("nn: decoder: %w", err)
	}
	if err := ops.Download(ctx, p.logits, d.logits); err != nil {
		return nil, fmt.Errorf("nn: decoder: %w", err)
	}
	return d.logits, nil
}

func (d *Decoder) next(ctx context.Context, tokens []int32) (*decoderPass, error) {
	if err := d.check(tokens); err != nil {
		return nil, err
	}
	if d.logits == nil {
		if err := d.record(&d.scores, false); err != nil {
			return nil, err
		}
		d.logits = make([]float32, d.m.cfg.Vocab)
	}
	return d.feed(ctx, &d.scores, tokens)
}

var errClosed = errors.New("it is closed")

// check reports tokens that can't be appended.
func (d *Decoder) check(tokens []int32) error {
	switch {
	case d.layers == nil:
		return errClosed
	case len(tokens) == 0:
		return errors.New("no token")
	case d.used+len(tokens) > d.length:
		return fmt.Errorf("%d positions and %d more, the cache holds %d", d.used, len(tokens), d.length)
	}
	return checkTokens(tokens, d.m.cfg.Vocab)
}

// feed appends tokens, in as many passes as that takes, and returns the last of
// them, without waiting for it.
func (d *Decoder) feed(ctx context.Context, ps *passes, tokens []int32) (p *decoderPass, err error) {
	for len(tokens) > 0 {
		p = ps.prompt
		if len(tokens) == 1 {
			p = ps.one
		}
		n := copy(p.ids, tokens)
		if err := ops.Upload(ctx, p.tokens, p.ids); err != nil {
			return nil, err
		}
		if err := d.run(ctx, p, n); err != nil {
			return nil, err
		}
		tokens = tokens[n:]
	}
	return p, nil
}

// run appends the first n of the tokens that p has. What the pass computes beyond
// them is overwritten before anything looks at it.
func (d *Decoder) run(ctx context.Context, p *decoderPass, n int) error {
	d.start[0], d.last[0] = uint32(d.used), int32(n-1)
	for i := range p.positions {
		p.positions[i] = int32(min(d.used+i, d.m.cfg.Context-1))
	}
	err := errors.Join(stage(ctx, p.start, d.start), stage(ctx, p.last, d.last), stage(ctx, p.places, p.positions), stage(ctx, p.how, d.how))
	if err != nil {
		return err
	}
	if err := p.step.Run(); err != nil {
		return err
	}
	d.used += n
	return nil
}

// stage uploads what a pass reads, if it does.
func stage[T ops.Number](ctx context.Context, t *ops.Tensor, values []T) error {
	if t == nil {
		return nil
	}
	return ops.Upload(ctx, t, values)
}

// Reset empties the sequence.
func (d *Decoder) Reset() { d.used = 0 }

// Close waits for the device and frees the cache and the recorded passes.
func (d *Decoder) Close() error {
	var err error
	for _, p := range []*decoderPass{d.choices.one, d.choices.prompt, d.scores.one, d.scores.prompt} {
		if p != nil && p.step != nil {
			err = errors.Join(err, p.step.Close())
		}
	}
	for _, l := range d.layers {
		l.keys.Release()
		l.values.Release()
	}
	d.token.Release()
	d.chosen.Release()
	d.layers, d.choices, d.scores = nil, passes{}, passes{}
	return err
}
