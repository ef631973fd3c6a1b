package guest

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

//go:embed convolution.spv
var convolutionSPIRV []byte // of convolution.comp, by glslc

// What the kernel computes: its constant WHAT.
const (
	convolved = iota
	convolvedBackX
	convolvedBackW
)

// Convolve returns the causal convolution of each channel of x (B, T, D) with the
// weights of that channel in w (K, D), both f32:
//
//	y[b, t, d] = Σ over k ≤ t of w[k, d]·x[b, t−k, d]
func Convolve(g *ops.Graph, x, w *ops.Tensor) *ops.Tensor {
	g.Helper()
	const op = "convolve"
	s, k := x.Shape(), w.Shape()
	if len(s) != 3 || len(k) != 2 || s[2] != k[1] || x.DType() != ops.F32 || w.DType() != ops.F32 {
		g.Fail(op, fmt.Errorf("%v and %v, want (B, T, D) and (K, D) in f32", x, w))
		return x
	}
	groups := (s[2] + 3) / 4
	call := func(what uint32, a, b *ops.Tensor, shape []int) *ops.Tensor {
		y := g.New(ops.F32, shape...)
		g.Dispatch(op, ops.Call{Kernel: op, SPIRV: convolutionSPIRV, Threads: int(y.Bytes() / 16), Spec: map[uint32]uint32{10: what},
			Push: struct{ B, T, D4, K uint32 }{uint32(s[0]), uint32(s[1]), uint32(groups), uint32(k[0])}, Args: []*ops.Tensor{a, b, y}})
		return y
	}
	y := call(convolved, x, w, s)
	g.Record(op, y, []*ops.Tensor{x, w}, func(dy *ops.Tensor) []*ops.Tensor {
		var dx, dw *ops.Tensor
		if g.NeedsGrad(x) {
			dx = call(convolvedBackX, dy, w, s)
		}
		if g.NeedsGrad(w) {
			dw = call(convolvedBackW, x, dy, k)
		}
		return []*ops.Tensor{dx, dw}
	})
	return y
}

// ConvolutionConfig is the structure of a [Convolution].
type ConvolutionConfig struct {
	Vocab  int `json:"vocab"`
	Layers int `json:"layers"`
	Width  int `json:"width"`
	Reach  int `json:"reach"` // tokens that a layer looks at
}

// Convolution is a language model that looks back with convolutions alone: in each
// layer h = h + conv(norm(h)), then h = h + down·silu(up·norm(h)).
type Convolution struct {
	cfg    ConvolutionConfig
	params *ops.Params
	embed  *ops.Tensor // (V, D), of the output too
	layers []convolutionLayer
}

type convolutionLayer struct {
	weight   *ops.Tensor // (K, D)
	up, down *ops.Tensor // (2D, D), (D, 2D)
}

// ReserveConvolution declares the parameters, in f32.
func ReserveConvolution(dev *vk.Device, dt ops.DType, c ConvolutionConfig) (*Convolution, error) {
	if dt != ops.F32 {
		return nil, fmt.Errorf("convolution: storage type is %v, want f32", dt)
	}
	p := ops.NewParams(dev, dt)
	m := &Convolution{cfg: c, params: p, embed: p.Add("embed", c.Vocab, c.Width)}
	for i := range c.Layers {
		add := func(name string, shape ...int) *ops.Tensor {
			return p.Add(fmt.Sprintf("layers.%d.%s", i, name), shape...)
		}
		m.layers = append(m.layers, convolutionLayer{add("convolution", c.Reach, c.Width), add("up", 2*c.Width, c.Width), add("down", c.Width, 2*c.Width)})
	}
	return m, p.Reserve()
}

// Initialize gives the parameters the values that they start with.
func (m *Convolution) Initialize(ctx context.Context, seed uint64) error {
	return nn.Initialize(ctx, m.params, seed, nn.Xavier)
}

// Params returns the parameters.
func (m *Convolution) Params() *ops.Params { return m.params }

// Description says what a run trains.
func (m *Convolution) Description() (name string, structure any) { return "convolution", m.cfg }

// Loss appends the mean cross-entropy of targets y given inputs x.
func (m *Convolution) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.LinearCrossEntropy(m.hidden(g, x), m.embed, y, &ops.CrossEntropyOptions{IgnoreIndex: new(-100)})
}

// Logits appends the scores of every next token, (B, T, V).
func (m *Convolution) Logits(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	return g.Linear(m.hidden(g, x), m.embed, nil)
}

func (m *Convolution) hidden(g *ops.Graph, x *ops.Tensor) *ops.Tensor {
	norm := func(h *ops.Tensor) *ops.Tensor { return g.RMSNorm(h, nil, normEps) }
	h := g.Embed(m.embed, x) // (B, T, D)
	for _, l := range m.layers {
		h = g.Add(h, Convolve(g, norm(h), l.weight))
		h = g.Add(h, g.Linear(g.SiLU(g.Linear(norm(h), l.up, nil)), l.down, nil))
	}
	return norm(h)
}
