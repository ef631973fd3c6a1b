package train

import (
	"cmp"
	"fmt"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/vk"
)

// Transformer returns the structure of the model that the configuration
// describes. Its longest sequence is MaxContext, or that of training.
func (c Config) Transformer() nn.TransformerConfig {
	return nn.TransformerConfig{Vocab: c.Vocab, Context: cmp.Or(c.MaxContext, c.ContextLen), Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, Width: c.Width, FFN: c.FFN,
		Norm: c.Norm, NormEps: c.NormEps, Activation: c.Activation, Positions: c.Positions, RopeTheta: c.RopeTheta,
		Tied: c.Tied, Bias: c.Bias, Dropout: c.Dropout, Recompute: c.Recompute, Init: c.Init}
}

// SetTransformer makes the configuration describe a model of the structure m,
// trained on its longest sequences.
func (c *Config) SetTransformer(m nn.TransformerConfig) {
	c.Model = "transformer"
	c.Vocab, c.ContextLen, c.MaxContext, c.Layers, c.Heads = m.Vocab, m.Context, 0, m.Layers, m.Heads
	c.KVHeads, c.Width, c.FFN = m.KVHeads, m.Width, m.FFN
	c.Norm, c.NormEps, c.Activation, c.Positions, c.RopeTheta = m.Norm, m.NormEps, m.Activation, m.Positions, m.RopeTheta
	c.Tied, c.Bias, c.Dropout, c.Recompute, c.Init = m.Tied, m.Bias, m.Dropout, m.Recompute, m.Init
}

// NewModel makes the model that the configuration describes, initialized from
// its seed. Release of its Params frees it.
func NewModel(dev *vk.Device, c Config) (Model, error) {
	switch c.Model {
	case "transformer":
		return nn.NewTransformer(dev, c.Storage(), c.Transformer(), c.Seed)
	case "bigram":
		return nn.NewBigram(dev, c.Storage(), c.Vocab)
	}
	return nil, fmt.Errorf("train: model is %q, want transformer or bigram", c.Model)
}
