package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/vk"
)

// Transformer returns the structure of the model that the configuration
// describes. Its longest sequence is that of training where max_context is 0.
func (c Config) Transformer() nn.TransformerConfig {
	c.Context = cmp.Or(c.Context, c.ContextLen)
	return c.TransformerConfig
}

// SetTransformer makes the configuration describe a model of the structure m,
// trained on its longest sequences.
func (c *Config) SetTransformer(m nn.TransformerConfig) {
	c.Model, c.TransformerConfig = "transformer", m
	c.Context, c.ContextLen = 0, m.Context
}

// Parameters returns how many values the model has that the configuration describes.
func (c Config) Parameters() int64 {
	if c.Model == "bigram" {
		return int64(c.Vocab) * int64(c.Vocab)
	}
	return c.Transformer().Parameters()
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
			return nil, nil, fmt.Errorf("train: new model: %w", err)
		}
		if err := c.trainable(dev.Info()); err != nil {
			return nil, nil, err
		}
		t, err := nn.ReserveTransformer(dev, c.Storage(), structure)
		if errors.Is(err, vk.ErrOutOfMemory) {
			return nil, nil, fmt.Errorf("%w; a smaller vocab or width fits, or another device", err)
		}
		if err != nil {
			return nil, nil, err
		}
		return t, func(ctx context.Context) error { return t.Initialize(ctx, c.Seed) }, nil
	case "bigram":
		if err := c.trainable(dev.Info()); err != nil {
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

// trainable refuses a device without room for the parameters, their gradients and
// the moments of each, before there is any of the model.
func (c Config) trainable(info vk.Info) error {
	n, each := c.Parameters(), 8+4*c.leastState() // f32: value, gradient and moments; or 2, 2, moments and a master copy of 4
	if float64(n)*float64(each) > float64(info.Memory) {
		return fmt.Errorf("train: %w: a model of %d parameters takes %d bytes for each to be trained, %s has %d; fewer layers, or a smaller width, ffn or vocab takes less",
			vk.ErrOutOfMemory, n, each, info.Name, info.Memory)
	}
	return nil
}
