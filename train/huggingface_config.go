package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lemnos-ml/lemnos/nn"
)

// hfGPT2 is the config.json of a GPT2LMHeadModel.
type hfGPT2 struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	DType         string   `json:"torch_dtype,omitempty"`
	Vocab         int      `json:"vocab_size"`
	Context       int      `json:"n_positions"`
	Width         int      `json:"n_embd"`
	Layers        int      `json:"n_layer"`
	Heads         int      `json:"n_head"`
	FFN           int      `json:"n_inner"` // null: 4·n_embd
	Activation    string   `json:"activation_function"`
	NormEps       hfFloat  `json:"layer_norm_epsilon"`
	Tied          bool     `json:"tie_word_embeddings"`
	Dropout       hfFloat  `json:"resid_pdrop"`
	EmbedDropout  hfFloat  `json:"embd_pdrop"`
	AttnDropout   hfFloat  `json:"attn_pdrop"`
	Begin         *int     `json:"bos_token_id"`
	End           *int     `json:"eos_token_id"`

	ScaleWeights   bool `json:"scale_attn_weights"`
	ScaleByLayer   bool `json:"scale_attn_by_inverse_layer_idx"`
	CrossAttention bool `json:"add_cross_attention"`
}

// hfLlama is the config.json of a LlamaForCausalLM.
type hfLlama struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	DType         string   `json:"torch_dtype,omitempty"`
	Vocab         int      `json:"vocab_size"`
	Context       int      `json:"max_position_embeddings"`
	Width         int      `json:"hidden_size"`
	FFN           int      `json:"intermediate_size"`
	Layers        int      `json:"num_hidden_layers"`
	Heads         int      `json:"num_attention_heads"`
	KVHeads       int      `json:"num_key_value_heads"` // null: num_attention_heads
	HeadSize      int      `json:"head_dim,omitempty"`  // null: hidden_size/num_attention_heads
	Activation    string   `json:"hidden_act"`
	NormEps       hfFloat  `json:"rms_norm_eps"`
	RopeTheta     hfFloat  `json:"rope_theta"`
	Tied          bool     `json:"tie_word_embeddings"`
	AttentionBias bool     `json:"attention_bias"`
	FFNBias       bool     `json:"mlp_bias"`
	Begin         *int     `json:"bos_token_id"`
	End           *int     `json:"eos_token_id"`

	RopeScaling    *hfRope `json:"rope_scaling,omitempty"`
	RopeParameters *hfRope `json:"rope_parameters,omitempty"` // of newer versions, with rope_theta inside
}

// hfFloat is written with a point, as Python tells numbers apart by it.
type hfFloat float64

// MarshalJSON implements json.Marshaler.
func (f hfFloat) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(float64(f))
	if err == nil && !bytes.ContainsAny(data, ".e") {
		data = append(data, ".0"...)
	}
	return data, err
}

// hfRope are the variations of RoPE, of which there is only the plain one here.
type hfRope struct {
	Type    string  `json:"rope_type"`
	OldType string  `json:"type"`
	Theta   hfFloat `json:"rope_theta"`
	Partial hfFloat `json:"partial_rotary_factor"`
}

func (r *hfRope) plain() bool {
	return r == nil || (r.Type == "" || r.Type == "default") && (r.OldType == "" || r.OldType == "default") && (r.Partial == 0 || r.Partial == 1)
}

// readHFConfig returns the structure that a config.json describes, and whether it
// is GPT-2's kind or Llama's. Keys that are absent have the defaults of the
// transformers package.
func readHFConfig(path string) (c nn.TransformerConfig, kind string, err error) {
	data, err := readSmall(path)
	if err != nil {
		return c, "", fmt.Errorf("train: %w", err)
	}
	var model struct {
		Type string `json:"model_type"`
	}
	if err = json.Unmarshal(data, &model); err == nil {
		switch kind = model.Type; kind {
		case "gpt2":
			c, err = parseHFGPT2(data)
		case "llama":
			c, err = parseHFLlama(data)
		default:
			err = fmt.Errorf("model_type is %q, want gpt2 or llama", model.Type)
		}
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return c, "", fmt.Errorf("train: %s: %w", path, err)
	}
	return c, kind, nil
}

func parseHFGPT2(data []byte) (nn.TransformerConfig, error) {
	h := hfGPT2{Vocab: gpt2Vocab, Context: 1024, Width: 768, Layers: 12, Heads: 12, Activation: "gelu_new", NormEps: 1e-5, Tied: true, ScaleWeights: true}
	if err := json.Unmarshal(data, &h); err != nil {
		return nn.TransformerConfig{}, err
	}
	c := nn.TransformerConfig{Vocab: h.Vocab, Context: h.Context, Layers: h.Layers, Heads: h.Heads, Width: h.Width, FFN: h.FFN,
		Norm: "layernorm", NormEps: float64(h.NormEps), Positions: "learned", RopeTheta: 1e4, Tied: h.Tied, Bias: true, Init: "gpt2"}
	if c.FFN == 0 {
		c.FFN = 4 * c.Width
	}
	switch h.Activation {
	case "gelu_new", "gelu_pytorch_tanh", "gelu_fast":
		c.Activation = "gelu_tanh"
	case "gelu":
		c.Activation = "gelu"
	case "silu", "swish":
		c.Activation = "silu"
	default:
		return c, fmt.Errorf("activation_function is %q, want gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, silu or swish", h.Activation)
	}
	switch {
	case !h.ScaleWeights:
		return c, errors.New("scale_attn_weights is false: attention is always scaled here")
	case h.ScaleByLayer:
		return c, errors.New("scale_attn_by_inverse_layer_idx is true, which is not supported")
	case h.CrossAttention:
		return c, errors.New("add_cross_attention is true: only decoders without an encoder are supported")
	}
	return c, nil
}

func parseHFLlama(data []byte) (nn.TransformerConfig, error) {
	h := hfLlama{Vocab: 32000, Context: 2048, Width: 4096, FFN: 11008, Layers: 32, Heads: 32, Activation: "silu", NormEps: 1e-6, RopeTheta: 1e4}
	if err := json.Unmarshal(data, &h); err != nil {
		return nn.TransformerConfig{}, err
	}
	c := nn.TransformerConfig{Vocab: h.Vocab, Context: h.Context, Layers: h.Layers, Heads: h.Heads, KVHeads: h.KVHeads, Width: h.Width, FFN: h.FFN,
		Norm: "rmsnorm", NormEps: float64(h.NormEps), Activation: "swiglu", Positions: "rope_half", RopeTheta: float64(h.RopeTheta),
		Tied: h.Tied, Bias: h.AttentionBias, Init: "truncated_normal"}
	if r := h.RopeParameters; r != nil && r.Theta != 0 {
		c.RopeTheta = float64(r.Theta)
	}
	switch {
	case h.Activation != "silu" && h.Activation != "swish":
		return c, fmt.Errorf("hidden_act is %q, want silu", h.Activation)
	case !h.RopeScaling.plain():
		return c, fmt.Errorf("rope_scaling is %+v: only plain RoPE is supported", *h.RopeScaling)
	case !h.RopeParameters.plain():
		return c, fmt.Errorf("rope_parameters are %+v: only plain RoPE is supported", *h.RopeParameters)
	case h.HeadSize != 0 && h.Heads != 0 && h.HeadSize*h.Heads != h.Width:
		return c, fmt.Errorf("head_dim is %d, want hidden_size/num_attention_heads, which is %d/%d", h.HeadSize, h.Width, h.Heads)
	case h.AttentionBias != h.FFNBias:
		return c, fmt.Errorf("attention_bias is %v and mlp_bias %v: only biases everywhere or nowhere are supported", h.AttentionBias, h.FFNBias)
	}
	return c, nil
}

// hfConfig returns the config.json of a structure, and whether it is GPT-2's kind
// or Llama's. A structure that is neither is an error that says which field.
func hfConfig(c nn.TransformerConfig, dtype string) (config any, kind string, err error) {
	torch := map[string]string{"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]
	var text *int // the token around texts, where the vocabulary is GPT-2's
	if c.Vocab == gpt2Vocab {
		text = new(int)
		*text = gpt2Vocab - 1
	}
	kvHeads := c.KVHeads
	if kvHeads == 0 {
		kvHeads = c.Heads
	}
	unfit := func(field, value, want string) error {
		return fmt.Errorf("%s is %s, want %s: with the rest it is not a model of Hugging Face's", field, value, want)
	}
	switch c.Norm {
	case "layernorm":
		activation := map[string]string{"gelu_tanh": "gelu_new", "gelu": "gelu", "silu": "silu"}[c.Activation]
		switch {
		case c.Positions != "learned":
			return nil, "", unfit("positions", c.Positions, "learned")
		case activation == "":
			return nil, "", unfit("activation", c.Activation, "gelu_tanh, gelu or silu")
		case kvHeads != c.Heads:
			return nil, "", unfit("kv_heads", fmt.Sprint(kvHeads), fmt.Sprint(c.Heads))
		}
		return hfGPT2{Architectures: []string{"GPT2LMHeadModel"}, ModelType: "gpt2", DType: torch, Vocab: c.Vocab, Context: c.Context, Width: c.Width,
			Layers: c.Layers, Heads: c.Heads, FFN: c.FFN, Activation: activation, NormEps: hfFloat(c.NormEps), Tied: c.Tied,
			Dropout: hfFloat(c.Dropout), EmbedDropout: hfFloat(c.Dropout), Begin: text, End: text, ScaleWeights: true}, "gpt2", nil
	case "rmsnorm":
		switch {
		case c.Positions != "rope" && c.Positions != "rope_half":
			return nil, "", unfit("positions", c.Positions, "rope or rope_half")
		case c.Activation != "swiglu":
			return nil, "", unfit("activation", c.Activation, "swiglu")
		}
		return hfLlama{Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", DType: torch, Vocab: c.Vocab, Context: c.Context, Width: c.Width,
			FFN: c.FFN, Layers: c.Layers, Heads: c.Heads, KVHeads: kvHeads, Activation: "silu", NormEps: hfFloat(c.NormEps), RopeTheta: hfFloat(c.RopeTheta), Tied: c.Tied,
			AttentionBias: c.Bias, FFNBias: c.Bias}, "llama", nil
	}
	return nil, "", unfit("norm", c.Norm, "layernorm or rmsnorm")
}
