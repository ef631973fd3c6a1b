package train

import (
	"cmp"
	"context"
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
// its seed. Release of its Params frees it. A device that has too little memory
// to train it is refused.
func NewModel(dev *vk.Device, c Config) (Model, error) {
	m, start, err := ReserveModel(dev, c)
	if err == nil {
		err = start(context.Background())
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// ReserveModel is NewModel without the values, which start gives the model: for
// [Hooks.Start].
func ReserveModel(dev *vk.Device, c Config) (m Model, start func(context.Context) error, err error) {
	if err := checkDevice(dev); err != nil {
		return nil, nil, fmt.Errorf("train: new model: %w", err)
	}
	switch c.Model {
	case "transformer":
		structure := c.Transformer()
		if err := structure.Validate(); err != nil {
			return nil, nil, err
		}
		if err := trainable(dev.Info(), structure.Parameters(), c.leastState()); err != nil {
			return nil, nil, err
		}
		t, err := nn.ReserveTransformer(dev, c.Storage(), structure)
		if err != nil {
			return nil, nil, err
		}
		return t, func(ctx context.Context) error { return t.Initialize(ctx, c.Seed) }, nil
	case "bigram":
		if err := trainable(dev.Info(), int64(c.Vocab)*int64(c.Vocab), c.leastState()); err != nil {
			return nil, nil, err
		}
		b, err := nn.NewBigram(dev, c.Storage(), c.Vocab)
		if err != nil {
			return nil, nil, err
		}
		return b, func(context.Context) error { return nil }, nil
	}
	return nil, nil, fmt.Errorf("train: model is %q, want transformer or bigram", c.Model)
}

// trainable refuses a device without room for n parameters, their gradients and
// so many moments of each, before there is any of the model.
func trainable(info vk.Info, n int64, moments int) error {
	each := 8 + 4*moments // f32: value, gradient and moments; or 2, 2, moments and a master copy of 4
	if float64(n)*float64(each) > float64(info.Memory) {
		return fmt.Errorf("train: %w: a model of %d parameters takes %d bytes for each to be trained, %s has %d; fewer layers, or a smaller width, ffn or vocab takes less",
			vk.ErrOutOfMemory, n, each, info.Name, info.Memory)
	}
	return nil
}
