package nn

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
)

// TransformerConfig is the structure of a decoder-only transformer. Together the
// fields cover the CS336 hand-out's model (RMSNorm, RoPE, SwiGLU, no biases),
// GPT-2 (LayerNorm, learned positions, GELU, tied head, biases), Llama (RMSNorm,
// half-split RoPE, SwiGLU, fewer key and value heads) and Mistral NeMo (heads that
// are not Width/Heads wide).
//
// This is the one place that tells it: a run's configuration embeds it. The tags
// are the name of a field in files, flags and errors (json), its help (usage), and
// what it has in common with the model that a run goes on with (resume): "model" is
// the same in a run that is resumed and in the model to start from, "same" in the
// former, "free" in neither.
type TransformerConfig struct {
	Vocab    int `json:"vocab" resume:"model" usage:"vocabulary size; 256 for text read as bytes"` // V
	Layers   int `json:"layers" resume:"model" usage:"blocks of the transformer"`
	Heads    int `json:"heads" resume:"model" usage:"attention heads"`                                                                       // H, of queries
	KVHeads  int `json:"kv_heads" resume:"model" usage:"heads of keys and values, shared by groups of attention heads; 0: as many as heads"` // K, a divisor of H
	HeadSize int `json:"head_size" resume:"model" usage:"values in a head; 0: width/heads"`                                                  // S
	Width    int `json:"width" resume:"model" usage:"width of the residual stream"`                                                          // D
	FFN      int `json:"ffn" resume:"model" usage:"width inside the feed-forward network"`

	Norm       string  `json:"norm" resume:"model" usage:"rmsnorm or layernorm"`
	NormEps    float64 `json:"norm_eps" resume:"model" usage:"the normalization's epsilon"` // added to the mean square or the variance
	Activation string  `json:"activation" resume:"model" usage:"swiglu, silu, gelu (with erf) or gelu_tanh"`
	Context    int     `json:"max_context" resume:"same" usage:"longest sequence that the model is made for; 0: context_len"` // 0 in a run's configuration only
	Positions  string  `json:"positions" resume:"model" usage:"rope (pairs 2i, 2i+1), rope_half (pairs i, i+S/2, as in Llama's files) or learned"`
	RopeTheta  float64 `json:"rope_theta" resume:"model" usage:"base of the rotary positions' wavelengths"`

	Tied bool   `json:"tied" resume:"model" usage:"the output head is the token embedding"`
	Bias bool   `json:"bias" resume:"model" usage:"biases in linear layers, but the output head, and in layernorm"`
	Init string `json:"init" resume:"same" usage:"initial parameters: truncated_normal (CS336) or gpt2"`

	// Dropout is of the embeddings and of what each sub-layer adds, not of attention
	// weights. A graph that trains calls [ops.Graph.Train].
	Dropout float64 `json:"dropout" resume:"free" usage:"part of the activations that training drops"`
	// Recompute trades time for memory: only each block's input is kept for the
	// backward pass, which runs the block forward once more.
	Recompute bool `json:"recompute" resume:"free" usage:"run each block again in the backward pass instead of keeping its activations"`
}

// Resolved returns c with what zeros stand for in KVHeads and HeadSize.
func (c TransformerConfig) Resolved() TransformerConfig {
	c.KVHeads = cmp.Or(c.KVHeads, c.Heads)
	if c.HeadSize == 0 && c.Heads != 0 {
		c.HeadSize = c.Width / c.Heads
	}
	return c
}

// Parameters returns how many values a model has, the largest int64 for more.
func (c TransformerConfig) Parameters() int64 {
	c = c.Resolved()
	width, ffn := float64(c.Width), float64(c.FFN)
	q, kv := float64(c.Heads)*float64(c.HeadSize), float64(c.KVHeads)*float64(c.HeadSize)
	norm, up := width, 1.0
	if c.Norm == "layernorm" && c.Bias {
		norm *= 2
	}
	if c.Activation == "swiglu" {
		up = 2
	}
	block := 2*norm + 2*(q+kv)*width + (up+1)*ffn*width
	if c.Bias {
		block += q + 2*kv + width + up*ffn + width
	}
	tables := float64(c.Vocab) * width
	if !c.Tied {
		tables *= 2
	}
	if c.Positions == "learned" {
		tables += float64(c.Context) * width
	}
	if n := tables + float64(c.Layers)*block + norm; n < math.MaxInt64 {
		return int64(n)
	}
	return math.MaxInt64
}

// Choices lists the values of the fields that are one of a few words, by the names of
// the fields in files.
func Choices() map[string][]string {
	return map[string][]string{
		"norm":       {"rmsnorm", "layernorm"},
		"activation": {"swiglu", "silu", "gelu", "gelu_tanh"},
		"positions":  {"rope", "rope_half", "learned"},
		"init":       {"truncated_normal", "gpt2"},
	}
}

// Validate returns an error that names the first impossible field, as files call
// it, and its value. It names no package: who calls it says whose structure it is.
func (c TransformerConfig) Validate() error {
	for _, f := range []struct {
		name     string
		v, least int
	}{{"vocab", c.Vocab, 1}, {"layers", c.Layers, 1}, {"heads", c.Heads, 1}, {"kv_heads", c.KVHeads, 0}, {"head_size", c.HeadSize, 0},
		{"width", c.Width, 1}, {"ffn", c.FFN, 1}, {"max_context", c.Context, 1}} {
		if f.v < f.least || f.v > math.MaxInt32 {
			return fmt.Errorf("%s is %d, want %d to %d", f.name, f.v, f.least, math.MaxInt32)
		}
	}
	for _, f := range []struct{ name, v string }{{"norm", c.Norm}, {"activation", c.Activation}, {"positions", c.Positions}, {"init", c.Init}} {
		if allowed := Choices()[f.name]; !slices.Contains(allowed, f.v) {
			return fmt.Errorf("%s is %q, want %s", f.name, f.v, strings.Join(allowed, " or "))
		}
	}
	switch {
	case !positive(c.NormEps) || !positive(float64(float32(c.NormEps))): // kernels have f32
		return fmt.Errorf("norm_eps is %v, want a positive number that 32 bits hold", c.NormEps)
	case !positive(c.RopeTheta) && !(c.Positions == "learned" && c.RopeTheta == 0):
		return fmt.Errorf("rope_theta is %v, want a positive number", c.RopeTheta)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("dropout is %v, want a number in [0, 1)", c.Dropout)
	}
	return c.checkHeads()
}

// checkHeads reports heads that do not go together.
func (c TransformerConfig) checkHeads() error {
	size := fmt.Sprintf("head_size is %d", c.HeadSize)
	if c.HeadSize == 0 {
		if c.Width%c.Heads != 0 {
			return fmt.Errorf("width is %d, want a multiple of heads, which is %d, or set head_size", c.Width, c.Heads)
		}
		size = fmt.Sprintf("width is %d and heads %d: head_size is %d", c.Width, c.Heads, c.Width/c.Heads)
	}
	switch r := c.Resolved(); {
	case r.HeadSize%4 != 0 || r.HeadSize > ops.MaxHeadSize: // a view cuts a row into heads, which are padded to 4 values
		return fmt.Errorf("%s, want a multiple of 4 of at most %d", size, ops.MaxHeadSize)
	case c.Heads > math.MaxInt32/r.HeadSize:
		return fmt.Errorf("heads is %d and head_size %d: more than %d values in all heads", c.Heads, r.HeadSize, math.MaxInt32)
	case c.Heads%r.KVHeads != 0:
		return fmt.Errorf("kv_heads is %d, want 0 or a divisor of heads, which is %d", c.KVHeads, c.Heads)
	}
	return nil
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
