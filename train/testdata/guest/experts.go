package guest

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// ExpertsConfig is the structure of [Experts].
type ExpertsConfig struct {
	Vocab   int     `json:"vocab"`
	Width   int     `json:"width"`
	Heads   int     `json:"heads"`
	FFN     int     `json:"ffn"`
	Experts int     `json:"experts"`
	Balance float64 `json:"balance"` // weight of the loss that keeps the experts busy alike
}

// Experts is one transformer block whose feed-forward network is a mixture of experts:
// each token goes through the two that its router likes best (Shazeer et al. 2017,
// with the order and the weights of Mixtral). All experts run, and what a token did
// not choose has weight zero.
type Experts struct {
	cfg       ExpertsConfig
	params    *ops.Params
	embed     *ops.Tensor                      // (V, D)
	attention [4]*ops.Tensor                   // query, key, value, output (D, D)
	norms     [3]*ops.Tensor                   // (D)
	router    *ops.Tensor                      // (E, D)
	experts   []struct{ up, down *ops.Tensor } // (F, D), (D, F)
	head      *ops.Tensor                      // (V, D)
}

// ReserveExperts declares the parameters, stored as dt.
func ReserveExperts(dev *vk.Device, dt ops.DType, c ExpertsConfig) (*Experts, error) {
	p := ops.NewParams(dev, dt)
	m := &Experts{cfg: c, params: p, embed: p.Add("embed", c.Vocab, c.Width)}
	for i, name := range []string{"query", "key", "value", "output"} {
		m.attention[i] = p.Add(name, c.Width, c.Width)
	}
	for i := range m.norms {
		m.norms[i] = p.Add(fmt.Sprintf("norms.%d", i), c.Width)
	}
	m.router = p.Add("router", c.Experts, c.Width)
	for i := range c.Experts {
		m.experts = append(m.experts, struct{ up, down *ops.Tensor }{
			p.Add(fmt.Sprintf("experts.%d.up", i), c.FFN, c.Width), p.Add(fmt.Sprintf("experts.%d.down", i), c.Width, c.FFN)})
	}
	m.head = p.Add("head", c.Vocab, c.Width)
	return m, p.Reserve()
}

// Initialize gives the parameters the values that they start with.
func (m *Experts) Initialize(ctx context.Context, seed uint64) error {
	return nn.Initialize(ctx, m.params, seed, func(t *ops.Tensor) nn.Init {
		if len(t.Shape()) == 1 {
			return nn.Init{Mean: 1}
		}
		return nn.Xavier(t)
	})
}

// Params returns the parameters.
func (m *Experts) Params() *ops.Params { return m.params }

// Description says what a run trains.
func (m *Experts) Description() (name string, structure any) { return "experts", m.cfg }

// Loss appends the mean cross-entropy of targets y given inputs x, and Balance times
// the balance of the routing, which an evaluation counts too.
func (m *Experts) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	logits, balance := m.forward(g, x)
	loss := g.CrossEntropy(logits, y, &ops.CrossEntropyOptions{IgnoreIndex: new(-100)})
	return g.Add(loss, g.Scale(balance, float32(m.cfg.Balance)))
}

// Logits appends the scores of every next token, (B, T, V).
func (m *Experts) Logits(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	logits, _ := m.forward(g, x)
	return logits
}

func (m *Experts) forward(g *ops.Graph, x *ops.Tensor) (logits, balance *ops.Tensor) {
	b, t, d := x.Shape()[0], x.Shape()[1], m.cfg.Width
	h := g.Embed(m.embed, x) // (B, T, D)
	norm := func(i int) *ops.Tensor { return g.RMSNorm(h, m.norms[i], normEps) }
	n := norm(0)
	var qkv [3]*ops.Tensor
	for i := range qkv {
		qkv[i] = g.View(g.Linear(n, m.attention[i], nil), b, t, m.cfg.Heads, d/m.cfg.Heads) // (B, T, H, S)
	}
	y := g.Attention(g.RoPE(qkv[0], nil), g.RoPE(qkv[1], nil), qkv[2], nil)
	h = g.Add(h, g.Linear(g.View(y, b, t, d), m.attention[3], nil))
	y, balance = m.mixture(g, g.View(norm(1), b*t, d))
	h = g.Add(h, g.View(y, b, t, d))
	return g.Linear(norm(2), m.head, nil), balance
}

// mixture returns what the experts make of x (N, D), and how unevenly it was shared:
// E·Σ over experts of (share of the choices)·(mean probability), which is 1 when all
// are alike (Fedus et al. 2021).
func (m *Experts) mixture(g *ops.Graph, x *ops.Tensor) (y, balance *ops.Tensor) {
	scores := g.Linear(x, m.router, nil)        // (N, E)
	chosen := m.best2(g, scores)                // (N, E) of 0 and 1
	p := g.Softmax(scores)                      // (N, E)
	weights := g.Mul(p, chosen)                 // of the two best,
	weights = g.Div(weights, g.RowSum(weights)) // together 1
	for i, e := range m.experts {
		out := g.Linear(g.SiLU(g.Linear(x, e.up, nil)), e.down, nil) // (N, D)
		out = g.Mul(out, g.Slice(weights, 1, i, i+1))                // by a column
		if y == nil {
			y = out
		} else {
			y = g.Add(y, out)
		}
	}
	perExpert := func(t *ops.Tensor) *ops.Tensor { return g.RowMean(g.Transpose(t, 0, 1)) } // means (E, 1)
	share := g.Scale(perExpert(chosen), 0.5)
	return y, g.Scale(g.Sum(g.Mul(share, perExpert(p))), float32(m.cfg.Experts))
}

// best2 returns 1 where a score is one of the two largest of its row, else 0. It is
// a constant for the gradient.
func (m *Experts) best2(g *ops.Graph, scores *ops.Tensor) *ops.Tensor {
	e := m.cfg.Experts
	identity := g.Input("identity", scores.DType(), e, e)
	values := make([]float32, e*e)
	for i := range e {
		values[i*e+i] = 1
	}
	if g.Err() == nil {
		g.Fail("best 2", ops.Upload(context.Background(), identity, values))
	}
	first := g.Embed(identity, g.ArgMax(scores)) // rows of 0 with one 1
	rest := g.Sub(g.Detach(scores), g.Scale(first, 1e9))
	return g.Add(first, g.Embed(identity, g.ArgMax(rest)))
}
