package nn

import (
	"context"
	"errors"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Transformer is a decoder-only transformer language model with pre-norm blocks:
//
//	x = embedding[token] (+ position embedding)
//	x = x + attention(norm(x));  x = x + ffn(norm(x))      in each block
//	logits = norm(x) · headᵀ
//
// Parameters are named as in the CS336 hand-out; a linear weight is (outputs, inputs).
type Transformer struct {
	cfg       TransformerConfig
	params    *ops.Params
	tokens    *ops.Tensor // (V, D)
	positions *ops.Tensor // (Context, D); nil with RoPE
	blocks    []*block
	norm      norm
	head      *ops.Tensor // (V, D); the token embedding itself when tied
}

// NewTransformer allocates the model on dev, parameters stored as dt, and
// initializes it: the same seed gives the same values on every device.
func NewTransformer(dev *vk.Device, dt ops.DType, cfg TransformerConfig, seed uint64) (*Transformer, error) {
	m, err := ReserveTransformer(dev, dt, cfg)
	if err != nil {
		return nil, err
	}
	if err := m.Initialize(context.Background(), seed); err != nil {
		m.params.Release()
		return nil, err
	}
	return m, nil
}

// ReserveTransformer is NewTransformer without memory and values, for a model that
// is read from a file, or whose training may not fit on the device: the memory is
// allocated when values first are.
func ReserveTransformer(dev *vk.Device, dt ops.DType, cfg TransformerConfig) (*Transformer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("nn: transformer: %w", err)
	}
	if dev != nil && dt.Float() {
		info := dev.Info()
		if n, size := cfg.Parameters(), dt.Size(); info.Memory > 0 && float64(n)*float64(size) > float64(info.Memory) { // 0 of a driver that only compiles
			return nil, fmt.Errorf("nn: transformer: %w: %d parameters of %d bytes, %s has %d bytes", vk.ErrOutOfMemory, n, size, info.Name, info.Memory)
		}
	}
	m := &Transformer{cfg: cfg.Resolved(), params: ops.NewParams(dev, dt)}
	m.declare()
	if err := m.params.Reserve(); err != nil {
		return nil, fmt.Errorf("nn: transformer: %w", err)
	}
	return m, nil
}

// Initialize gives all parameters the values that they start with.
func (m *Transformer) Initialize(ctx context.Context, seed uint64) error {
	if err := Initialize(ctx, m.params, seed, m.start); err != nil {
		return fmt.Errorf("nn: transformer: %w", err)
	}
	return nil
}

// declare adds all parameters, in the order of the forward pass.
func (m *Transformer) declare() {
	c := m.cfg
	m.tokens = m.params.Add("token_embeddings.weight", c.Vocab, c.Width)
	if c.Positions == "learned" {
		m.positions = m.params.Add("position_embeddings.weight", c.Context, c.Width)
	}
	for i := range c.Layers {
		m.blocks = append(m.blocks, m.newBlock(fmt.Sprintf("layers.%d.", i)))
	}
	m.norm = m.newNorm("ln_final")
	m.head = m.tokens
	if !c.Tied {
		m.head = m.params.Add("lm_head.weight", c.Vocab, c.Width)
	}
}

// Config returns the structure that the model was made with, [TransformerConfig.Resolved].
func (m *Transformer) Config() TransformerConfig { return m.cfg }

// Params returns the parameters; Release of the set frees the model.
func (m *Transformer) Params() *ops.Params { return m.params }

// Embeddings returns the tables that are looked up, a tied head among them;
// some recipes spare them weight decay.
func (m *Transformer) Embeddings() []*ops.Tensor {
	if m.positions == nil {
		return []*ops.Tensor{m.tokens}
	}
	return []*ops.Tensor{m.tokens, m.positions}
}

// HiddenMatrices returns the matrices between the embeddings and the output head,
// which the update rule Muon is for.
func (m *Transformer) HiddenMatrices() (all []*ops.Tensor) {
	for _, t := range m.params.All() {
		if len(t.Shape()) == 2 && t != m.tokens && t != m.positions && t != m.head {
			all = append(all, t)
		}
	}
	return all
}

// Loss appends the mean cross-entropy of targets y given inputs x, both integer
// (B, T), in nats per token. A target of -100 is left out. The (B, T, V) logits
// never exist: see [ops.Graph.LinearCrossEntropy]. With dropout a graph that trains
// calls [ops.Graph.Train] first; one that evaluates does not, and drops nothing.
func (m *Transformer) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	ignore := -100
	return g.LinearCrossEntropy(m.hidden(g, x, nil), m.head, y, &ops.CrossEntropyOptions{IgnoreIndex: &ignore})
}

// Logits appends the scores of every next token, (B, T, V), given inputs x (B, T).
func (m *Transformer) Logits(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	return g.Linear(m.hidden(g, x, nil), m.head, nil)
}

// hidden returns what the head reads, (B, T, D). With a cache, x continues the
// sequence that the cache holds.
func (m *Transformer) hidden(g *ops.Graph, x *ops.Tensor, c *cache) *ops.Tensor {
	if g.Err() != nil {
		return x
	}
	if x == nil {
		g.Fail("transformer", errors.New("no inputs"))
		return x
	}
	if s := x.Shape(); len(s) != 2 || s[1] > m.cfg.Context {
		g.Fail("transformer", fmt.Errorf("inputs are %v, want (B, T) with T at most %d", x, m.cfg.Context))
		return x
	}
	h := g.Embed(m.tokens, x) // (B, T, D)
	if m.positions != nil {
		h = g.Add(h, m.places(g, x, c))
	}
	h = m.dropout(g, h)
	for i, b := range m.blocks {
		switch {
		case c != nil:
			h = b.forward(g, h, c.layer(i))
		case m.cfg.Recompute:
			h = g.Recompute(h, func(h *ops.Tensor) *ops.Tensor { return b.forward(g, h, nil) })
		default:
			h = b.forward(g, h, nil)
		}
	}
	return m.norm.forward(g, h)
}

// places returns the embeddings of the positions: the first T rows, or those that the
// decoder names before each run.
func (m *Transformer) places(g *ops.Graph, x *ops.Tensor, c *cache) *ops.Tensor {
	t := x.Shape()[1]
	switch {
	case c != nil:
		return g.Embed(m.positions, c.places)
	case t == m.cfg.Context:
		return m.positions
	}
	return g.Rows(m.positions, 0, t)
}

func (m *Transformer) dropout(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	if m.cfg.Dropout == 0 {
		return x
	}
	return g.Dropout(x, m.cfg.Dropout)
}

// block is one layer: attention, then the feed-forward network.
type block struct {
	m            *Transformer
	norm1, norm2 norm

	query, key, value, output linear
	gate, up, down            linear // up only with SwiGLU
}

func (m *Transformer) newBlock(prefix string) *block {
	c := m.cfg
	q, kv := c.Heads*c.HeadSize, c.KVHeads*c.HeadSize
	b := &block{m: m}
	b.norm1 = m.newNorm(prefix + "ln1")
	b.query = m.newLinear(prefix+"attn.q_proj", q, c.Width)
	b.key = m.newLinear(prefix+"attn.k_proj", kv, c.Width)
	b.value = m.newLinear(prefix+"attn.v_proj", kv, c.Width)
	m.together(b.query, b.key, b.value)
	b.output = m.newLinear(prefix+"attn.output_proj", c.Width, q)
	b.norm2 = m.newNorm(prefix + "ln2")
	b.gate = m.newLinear(prefix+"ffn.w1", c.FFN, c.Width)
	if c.Activation == "swiglu" {
		b.up = m.newLinear(prefix+"ffn.w3", c.FFN, c.Width)
		m.together(b.gate, b.up)
	}
	b.down = m.newLinear(prefix+"ffn.w2", c.Width, c.FFN)
	return b
}

func (b *block) forward(g *ops.Graph, x *ops.Tensor, c *layerCache) *ops.Tensor {
	x = g.Add(x, b.m.dropout(g, b.attention(g, b.norm1.forward(g, x), c)))
	return g.Add(x, b.m.dropout(g, b.feedForward(g, b.norm2.forward(g, x))))
}

// attention mixes the positions: each looks at itself and those before it.
func (b *block) attention(g *ops.Graph, x *ops.Tensor, c *layerCache) *ops.Tensor {
	heads, kv, size := b.m.cfg.Heads, b.m.cfg.KVHeads, b.m.cfg.HeadSize
	batch, t := x.Shape()[0], x.Shape()[1]
	if all, ok := b.m.stack(x, b.query, b.key, b.value); ok {
		qkv := g.View(all.forward(g, x), batch, t, heads+2*kv, size)
		return b.output.forward(g, g.View(b.packed(g, qkv, c), batch, t, heads*size))
	}
	q := g.View(b.query.forward(g, x), batch, t, heads, size) // (B, T, H, S)
	k := g.View(b.key.forward(g, x), batch, t, kv, size)      // (B, T, K, S)
	v := g.View(b.value.forward(g, x), batch, t, kv, size)
	if b.m.positions == nil {
		q, k = b.rope(g, q, heads, c), b.rope(g, k, kv, c)
	}
	var y *ops.Tensor
	if c == nil {
		y = g.Attention(q, k, v, nil)
	} else {
		y = c.attention(g, q, k, v)
	}
	return b.output.forward(g, g.View(y, batch, t, heads*size))
}

// packed is the middle of attention: qkv (B, T, H+2K, S) has the heads of q, k and v.
func (b *block) packed(g *ops.Graph, qkv *ops.Tensor, c *layerCache) *ops.Tensor {
	heads, kv := b.m.cfg.Heads, b.m.cfg.KVHeads
	if c != nil {
		return c.packed(g, qkv, b)
	}
	if b.m.positions == nil {
		qkv = b.rope(g, qkv, heads+kv, nil)
	}
	return g.Attention(qkv, nil, nil, &ops.AttentionOptions{Packed: kv})
}

// rope turns the first heads of x.
func (b *block) rope(g *ops.Graph, x *ops.Tensor, heads int, c *layerCache) *ops.Tensor {
	o := b.ropeOptions(c)
	o.Heads = heads
	return g.RoPE(x, o)
}

func (b *block) ropeOptions(c *layerCache) *ops.RoPEOptions {
	o := &ops.RoPEOptions{Theta: b.m.cfg.RopeTheta, HalfSplit: b.m.cfg.Positions == "rope_half"}
	if c != nil {
		o.Start, o.Positions = c.start, c.length
	}
	return o
}

// feedForward works on each position alone.
func (b *block) feedForward(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	if both, ok := b.m.stack(x, b.gate, b.up); ok && b.m.cfg.FFN%4 == 0 {
		return b.down.forward(g, g.SwiGLUPacked(both.forward(g, x)))
	}
	h := b.gate.forward(g, x) // (B, T, FFN)
	switch b.m.cfg.Activation {
	case "swiglu":
		h = g.SwiGLU(h, b.up.forward(g, x))
	case "silu":
		h = g.SiLU(h)
	case "gelu":
		h = g.GELU(h)
	case "gelu_tanh":
		h = g.GELUTanh(h)
	}
	return b.down.forward(g, h)
}

// linear is x·weightᵀ + bias.
type linear struct {
	weight *ops.Tensor // (outputs, inputs)
	bias   *ops.Tensor // (outputs); nil without biases
}

func (m *Transformer) newLinear(name string, outputs, inputs int) linear {
	l := linear{weight: m.params.Add(name+".weight", outputs, inputs)}
	if m.cfg.Bias {
		l.bias = m.params.Add(name+".bias", outputs)
	}
	return l
}

// together asks for layers of one input to lie where stack can join them.
func (m *Transformer) together(layers ...linear) {
	var weights, biases []*ops.Tensor
	for _, l := range layers {
		weights, biases = append(weights, l.weight), append(biases, l.bias)
	}
	m.params.Together(weights...)
	if m.cfg.Bias {
		m.params.Together(biases...)
	}
}

// stack returns layers of one input as one, whose outputs are theirs side by side.
// Sizes that leave gaps between the parameters do not allow it, nor do outputs
// that fit into a binding only one by one.
func (m *Transformer) stack(x *ops.Tensor, layers ...linear) (l linear, ok bool) {
	var weights, biases []*ops.Tensor
	for _, one := range layers {
		weights, biases = append(weights, one.weight), append(biases, one.bias)
	}
	if l.weight, ok = m.params.Stack(weights...); ok && m.cfg.Bias {
		l.bias, ok = m.params.Stack(biases...)
	}
	if !ok {
		return l, false
	}
	caps, outputs := m.params.Device().Info().Caps, l.weight.Shape()[0]
	bytes := float64(x.Len()) / float64(m.cfg.Width) * float64(outputs) * float64(x.DType().Size())
	return l, bytes <= float64(min(caps.MaxStorageRange, caps.MaxAllocation))
}

func (l linear) forward(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	return g.Linear(x, l.weight, l.bias)
}

// norm is RMSNorm or LayerNorm.
type norm struct {
	m            *Transformer
	weight, bias *ops.Tensor // (D)
}

func (m *Transformer) newNorm(name string) norm {
	n := norm{m: m, weight: m.params.Add(name+".weight", m.cfg.Width)}
	if m.cfg.Bias && m.cfg.Norm == "layernorm" {
		n.bias = m.params.Add(name+".bias", m.cfg.Width)
	}
	return n
}

func (n norm) forward(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	if n.m.cfg.Norm == "layernorm" {
		return g.LayerNorm(x, n.weight, n.bias, n.m.cfg.NormEps)
	}
	return g.RMSNorm(x, n.weight, n.m.cfg.NormEps)
}
