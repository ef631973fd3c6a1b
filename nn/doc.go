// Package nn holds language models built from package ops: [Transformer], which
// one struct configures into the CS336 hand-out's model, GPT-2 or Llama, and
// [Bigram], the smallest there is. It knows nothing of optimizers, data or files.
//
// A model declares its parameters once, in one [ops.Params], and appends its
// loss to any graph:
//
//	m, err := nn.NewTransformer(dev, ops.BF16, cfg, seed)
//	loss := m.Loss(g, x, y)   // x, y integer (B, T); nats per token
//	g.Backward(loss, nil)
//
// Reading transformer.go from top to bottom is reading the model; nothing in it
// is out of reach of a package of your own, since it calls only what ops
// exports.
//
// # Generating
//
// A [Decoder] continues one sequence and keeps its keys and values on the
// device; a [Sampler] chooses tokens from logits on the host; [Generate] joins
// the two.
//
// # Shapes, ownership and threads
//
// Letters as in package ops: B batch, T positions, D width, H heads, K key and
// value heads, S head size, V vocabulary. Values are stored in the type the model
// was made with; all arithmetic is f32. Release of a model's Params frees it,
// after its decoders were closed. Like its device, a model is for one goroutine
// at a time.
package nn
