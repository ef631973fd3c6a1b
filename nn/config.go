package nn

import (
	"fmt"
	"math"
	"strings"
)

// TransformerConfig is the structure of a decoder-only transformer. Together the
// fields cover the CS336 hand-out's model (RMSNorm, RoPE, SwiGLU, no biases),
// GPT-2 (LayerNorm, learned positions, GELU, tied head, biases) and Llama
// (RMSNorm, half-split RoPE, SwiGLU, fewer key and value heads).
type TransformerConfig struct {
	Vocab   int // V, tokens
	Context int // longest sequence, positions
	Layers  int
	Heads   int // H, query heads; the head size is Width/Heads
	KVHeads int // K, key and value heads, each shared by H/K query heads; 0 is H
	Width   int // D, of the residual stream
	FFN     int // width inside the feed-forward network

	Norm       string  // "rmsnorm" or "layernorm"
	NormEps    float64 // added to the mean square or the variance
	Activation string  // "swiglu", "silu", "gelu" (with erf) or "gelu_tanh"
	Positions  string  // "rope" (pairs 2i, 2i+1), "rope_half" (pairs i, i+S/2) or "learned"
	RopeTheta  float64

	Tied    bool    // the output head is the token embedding
	Bias    bool    // linear layers and LayerNorm add a bias; the head never does
	Dropout float64 // of the embeddings and of what each sub-layer adds, not of attention weights; a graph that trains calls [ops.Graph.Train]

	// Recompute trades time for memory: only each block's input is kept for the
	// backward pass, which runs the block forward once more.
	Recompute bool
	Init      string // "truncated_normal" (CS336) or "gpt2"
}

// HeadSize returns S = Width/Heads.
func (c TransformerConfig) HeadSize() int { return c.Width / c.Heads }

// kvHeads returns K with its default.
func (c TransformerConfig) kvHeads() int {
	if c.KVHeads == 0 {
		return c.Heads
	}
	return c.KVHeads
}

// Parameters returns how many values a model has, the largest int64 for more.
func (c TransformerConfig) Parameters() int64 {
	width, kv, ffn := float64(c.Width), float64(c.kvHeads()*c.HeadSize()), float64(c.FFN)
	norm, up := width, 1.0
	if c.Norm == "layernorm" && c.Bias {
		norm *= 2
	}
	if c.Activation == "swiglu" {
		up = 2
	}
	block := 2*norm + 2*(width+kv)*width + (up+1)*ffn*width
	if c.Bias {
		block += 2*(width+kv) + up*ffn + width
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

// Validate returns an error that names the first impossible field and its value.
func (c TransformerConfig) Validate() error {
	for _, f := range []struct {
		name string
		v    int
	}{{"Vocab", c.Vocab}, {"Context", c.Context}, {"Layers", c.Layers}, {"Heads", c.Heads}, {"Width", c.Width}, {"FFN", c.FFN}} {
		if f.v < 1 || f.v > math.MaxInt32 {
			return fmt.Errorf("nn: %s is %d, want at least 1", f.name, f.v)
		}
	}
	switch {
	case c.Width%c.Heads != 0:
		return fmt.Errorf("nn: Width is %d, want a multiple of Heads, which is %d", c.Width, c.Heads)
	case c.HeadSize()%4 != 0:
		return fmt.Errorf("nn: Width is %d and Heads %d: the head size is %d, want a multiple of 4", c.Width, c.Heads, c.HeadSize())
	case c.KVHeads < 0 || c.Heads%c.kvHeads() != 0:
		return fmt.Errorf("nn: KVHeads is %d, want a divisor of Heads, which is %d", c.KVHeads, c.Heads)
	case !positive(c.NormEps) || !positive(float64(float32(c.NormEps))): // kernels have f32
		return fmt.Errorf("nn: NormEps is %v, want a positive number", c.NormEps)
	case c.Positions != "learned" && !positive(c.RopeTheta):
		return fmt.Errorf("nn: RopeTheta is %v, want a positive number", c.RopeTheta)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("nn: Dropout is %v, want a number in [0, 1)", c.Dropout)
	}
	for _, f := range []struct{ name, v, allowed string }{
		{"Norm", c.Norm, "rmsnorm layernorm"},
		{"Activation", c.Activation, "swiglu silu gelu gelu_tanh"},
		{"Positions", c.Positions, "rope rope_half learned"},
		{"Init", c.Init, "truncated_normal gpt2"},
	} {
		if f.v == "" || strings.Contains(f.v, " ") || !strings.Contains(" "+f.allowed+" ", " "+f.v+" ") {
			return fmt.Errorf("nn: %s is %q, want one of: %s", f.name, f.v, f.allowed)
		}
	}
	return nil
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
