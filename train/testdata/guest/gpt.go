package guest

import (
	"context"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

const (
	ropeTheta = 1e4
	normEps   = 1e-6
)

// GPTConfig is the structure of a [GPT].
type GPTConfig struct {
	Vocab  int     `json:"vocab"`
	Layers int     `json:"layers"`
	Heads  int     `json:"heads"`
	Width  int     `json:"width"`
	Cap    float64 `json:"cap"` // bound of the logits
}

// GPT is the model of nanochat (Karpathy 2025) with the value residuals of
// modded-nanogpt (Zhou et al. 2024): norms without weights, of queries and keys too,
// rotary positions, squared ReLU, soft-capped logits, no biases, and values that are
// mixed with those of the first layer.
type GPT struct {
	cfg    GPTConfig
	params *ops.Params
	embed  *ops.Tensor // (V, D)
	layers []gptLayer
	head   *ops.Tensor // (V, D); not tied
}

type gptLayer struct {
	query, key, value, output *ops.Tensor // (D, D)
	mix                       *ops.Tensor // (1): share of the first layer's values; nil in that
	up, down                  *ops.Tensor // (4D, D), (D, 4D)
}

// ReserveGPT declares the parameters, stored as dt. They get memory with their first
// values: those of Initialize, or of a file.
func ReserveGPT(dev *vk.Device, dt ops.DType, c GPTConfig) (*GPT, error) {
	p := ops.NewParams(dev, dt)
	m := &GPT{cfg: c, params: p}
	m.embed = p.Add("embed", c.Vocab, c.Width)
	for i := range c.Layers {
		add := func(name string, shape ...int) *ops.Tensor {
			return p.Add(fmt.Sprintf("layers.%d.%s", i, name), shape...)
		}
		l := gptLayer{query: add("query", c.Width, c.Width), key: add("key", c.Width, c.Width), value: add("value", c.Width, c.Width)}
		if i > 0 {
			l.mix = add("mix", 1)
		}
		l.output = add("output", c.Width, c.Width)
		l.up, l.down = add("up", 4*c.Width, c.Width), add("down", c.Width, 4*c.Width)
		m.layers = append(m.layers, l)
	}
	m.head = p.Add("head", c.Vocab, c.Width)
	return m, p.Reserve()
}

// Initialize gives the parameters the values that they start with.
func (m *GPT) Initialize(ctx context.Context, seed uint64) error {
	return nn.Initialize(ctx, m.params, seed, func(t *ops.Tensor) nn.Init {
		switch {
		case len(t.Shape()) == 1:
			return nn.Init{Mean: 0.5}
		case t == m.embed:
			return nn.Init{Deviation: 1}
		}
		return nn.Init{Deviation: 1 / math.Sqrt(float64(t.Shape()[1]))}
	})
}

// Params returns the parameters.
func (m *GPT) Params() *ops.Params { return m.params }

// Description says what a run trains.
func (m *GPT) Description() (name string, structure any) { return "gpt", m.cfg }

// Loss appends the mean cross-entropy of targets y given inputs x.
func (m *GPT) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.CrossEntropy(m.Logits(g, x), y, &ops.CrossEntropyOptions{IgnoreIndex: new(-100)})
}

// Logits appends the scores of every next token, (B, T, V): cap·tanh(z/cap).
func (m *GPT) Logits(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	h := m.norm(g, g.Embed(m.embed, x)) // (B, T, D)
	var first *ops.Tensor               // the values of the first layer
	for _, l := range m.layers {
		var y *ops.Tensor
		y, first = m.attention(g, l, m.norm(g, h), first)
		h = g.Add(h, y)
		h = g.Add(h, g.Linear(g.ReLUSquared(g.Linear(m.norm(g, h), l.up, nil)), l.down, nil))
	}
	z := g.Cast(g.Linear(m.norm(g, h), m.head, nil), ops.F32)
	return g.Scale(g.Tanh(g.Scale(z, float32(1/m.cfg.Cap))), float32(m.cfg.Cap))
}

// attention returns what the layer adds, and the values of the first layer.
func (m *GPT) attention(g *ops.Graph, l gptLayer, x, first *ops.Tensor) (y, values *ops.Tensor) {
	s := x.Shape()
	heads := func(w *ops.Tensor) *ops.Tensor {
		return g.View(g.Linear(x, w, nil), s[0], s[1], m.cfg.Heads, m.cfg.Width/m.cfg.Heads) // (B, T, H, S)
	}
	turned := func(w *ops.Tensor) *ops.Tensor {
		return m.norm(g, g.RoPE(heads(w), &ops.RoPEOptions{Theta: ropeTheta, HalfSplit: true}))
	}
	v := heads(l.value)
	if first == nil {
		first = v
	} else {
		v = g.Add(v, g.Mul(g.Sub(first, v), l.mix)) // (1 − mix)·v + mix·first
	}
	y = g.Attention(turned(l.query), turned(l.key), v, nil)
	return g.Linear(g.View(y, s...), l.output, nil), first
}

func (m *GPT) norm(g *ops.Graph, x *ops.Tensor) *ops.Tensor { return g.RMSNorm(x, nil, normEps) }
