package hf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// gpt2Vocab is the vocabulary of the models that OpenAI published.
const gpt2Vocab = 50257

// gpt2Config is what the config.json of a GPT2LMHeadModel says of the structure.
type gpt2Config struct {
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
	NormEps       float    `json:"layer_norm_epsilon"`
	Tied          bool     `json:"tie_word_embeddings"`
	Dropout       float    `json:"resid_pdrop"`
	EmbedDropout  float    `json:"embd_pdrop"`
	AttnDropout   float    `json:"attn_pdrop"`
	Begin         tokenIDs `json:"bos_token_id"`
	End           tokenIDs `json:"eos_token_id"`
}

// llamaConfig is the same of a LlamaForCausalLM or a MistralForCausalLM.
type llamaConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	DType         string   `json:"torch_dtype,omitempty"`
	Vocab         int      `json:"vocab_size"`
	Context       int      `json:"max_position_embeddings"`
	Width         int      `json:"hidden_size"`
	FFN           int      `json:"intermediate_size"`
	Layers        int      `json:"num_hidden_layers"`
	Heads         int      `json:"num_attention_heads"`
	KVHeads       int      `json:"num_key_value_heads"` // Llama, null: num_attention_heads
	HeadSize      int      `json:"head_dim,omitempty"`  // null: hidden_size/num_attention_heads
	Activation    string   `json:"hidden_act"`
	NormEps       float    `json:"rms_norm_eps"`
	RopeTheta     float    `json:"rope_theta"`
	Tied          bool     `json:"tie_word_embeddings"`
	AttentionBias bool     `json:"attention_bias"`
	FFNBias       bool     `json:"mlp_bias"`
	Begin         tokenIDs `json:"bos_token_id"`
	End           tokenIDs `json:"eos_token_id"`
}

// float is written with a point, as Python tells numbers apart by it.
type float float64

// MarshalJSON implements json.Marshaler.
func (f float) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(float64(f))
	if err == nil && !bytes.ContainsAny(data, ".e") {
		data = append(data, ".0"...)
	}
	return data, err
}

// meaning lists fields that change what a model computes, with the values that
// leave it what is computed here; so does null. For reasons of speed, of rounding, of
// training or of generating text there are many more, which do not matter.
var meaning = map[string][]string{
	"scale_attn_weights":              {"true"},
	"scale_attn_by_inverse_layer_idx": {"false"},
	"add_cross_attention":             {"false"},
	"is_encoder_decoder":              {"false"},
	"is_causal":                       {"true"},
	"pruned_heads":                    {"{}"},
	"partial_rotary_factor":           {"1", "1.0"},
	"quantization_config":             {},
}

// checkMeaning refuses fields with values that mean something else.
func (o object) checkMeaning() error {
	for _, key := range slices.Sorted(maps.Keys(meaning)) {
		if value, ok := o.get(key); ok && !slices.Contains(meaning[key], value) {
			return fault.Unsupportedf("%s: %s is %.200s, which is not supported", o.place(key), key, value)
		}
	}
	return nil
}

// structure returns what the config.json of a model describes, and its family. Keys
// that are absent have the defaults of the transformers package.
func (o object) structure() (c nn.TransformerConfig, f *family, err error) {
	var model struct {
		Type string `json:"model_type"`
	}
	if err := o.decode(&model); err != nil {
		return c, nil, err
	}
	if err := o.checkMeaning(); err != nil {
		return c, nil, err
	}
	if f, err = familyOf(model.Type); err != nil {
		return c, nil, err
	}
	if c, err = f.read(o); err == nil {
		err = fault.Damaged(c.Validate())
	}
	return c, f, err
}

// gpt2Names are other names that transformers takes for fields of a GPT2Config.
var gpt2Names = map[string]string{"n_embd": "hidden_size", "n_positions": "max_position_embeddings", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers"}

func (o object) gpt2() (nn.TransformerConfig, error) {
	h := gpt2Config{Vocab: gpt2Vocab, Context: 1024, Width: 768, Layers: 12, Heads: 12, Activation: "gelu_new", NormEps: 1e-5, Tied: true}
	named := object{maps.Clone(o.fields), o.text}
	for name, other := range gpt2Names {
		if v, ok := o.fields[other]; ok {
			if _, ok := o.fields[name]; !ok {
				named.fields[name] = v
			}
		}
	}
	if err := named.decode(&h); err != nil {
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
		return c, fault.Unsupportedf("activation_function is %q, want gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, silu or swish", h.Activation)
	}
	return c, nil
}

func (o object) llama() (nn.TransformerConfig, error) {
	return o.likeLlama(llamaConfig{Vocab: 32000, Context: 2048, Width: 4096, FFN: 11008, Layers: 32, Heads: 32,
		Activation: "silu", NormEps: 1e-6, RopeTheta: 1e4}, false)
}

func (o object) mistral() (nn.TransformerConfig, error) {
	h := llamaConfig{Vocab: 32000, Context: 131072, Width: 4096, FFN: 14336, Layers: 32, Heads: 32,
		Activation: "silu", NormEps: 1e-6, RopeTheta: 1e4}
	if _, ok := o.fields["num_key_value_heads"]; !ok { // null: num_attention_heads
		h.KVHeads = 8
	}
	return o.likeLlama(h, true)
}

// likeLlama reads a structure of Llama's kind, with defaults h. Mistral's attention
// slides in all layers, whatever else is said, over 4096 positions if nothing is.
func (o object) likeLlama(h llamaConfig, slides bool) (nn.TransformerConfig, error) {
	if err := o.decode(&h); err != nil {
		return nn.TransformerConfig{}, err
	}
	c := nn.TransformerConfig{Vocab: h.Vocab, Context: h.Context, Layers: h.Layers, Heads: h.Heads, KVHeads: h.KVHeads, Width: h.Width, FFN: h.FFN,
		Norm: "rmsnorm", NormEps: float64(h.NormEps), Activation: "swiglu", Positions: "rope_half", RopeTheta: float64(h.RopeTheta),
		Tied: h.Tied, Bias: h.AttentionBias, Init: "truncated_normal"}
	if h.HeadSize*h.Heads != h.Width {
		c.HeadSize = h.HeadSize
	}
	switch {
	case h.Activation != "silu" && h.Activation != "swish":
		return c, fault.Unsupportedf("hidden_act is %q, want silu", h.Activation)
	case h.AttentionBias != h.FFNBias:
		return c, fault.Unsupportedf("attention_bias is %v and mlp_bias %v: only biases everywhere or nowhere are supported", h.AttentionBias, h.FFNBias)
	}
	window, err := o.window(slides)
	if err != nil {
		return c, err
	}
	if window > 0 {
		c.Context = min(c.Context, window)
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		theta, err := o.rope(key, h.Context)
		if err != nil {
			return c, err
		}
		switch _, set := o.get("rope_theta"); {
		case theta == 0:
		case key == "rope_scaling" && set && theta != float64(h.RopeTheta): // versions of transformers differ
			return c, fault.Unsupportedf("%s: rope_scaling has rope_theta %v, beside rope_theta %v", o.place(key), theta, h.RopeTheta)
		default:
			c.RopeTheta = theta
		}
	}
	return c, nil
}

// window returns how many positions attention looks back at, which is as far as the
// model is the same as one without a window; 0 is no limit. always: in all layers.
func (o object) window(always bool) (int, error) {
	h := struct {
		Window int      `json:"sliding_window"`
		Used   bool     `json:"use_sliding_window"`
		Layers []string `json:"layer_types"`
	}{Used: true}
	if _, ok := o.fields["sliding_window"]; !ok && always {
		h.Window = 4096
	}
	if err := o.decode(&h); err != nil {
		return 0, err
	}
	if h.Window < 0 {
		return 0, fault.Unsupportedf("%s: sliding_window is %d, want a positive number or null", o.place("sliding_window"), h.Window)
	}
	slides := always // Llama itself heeds no window
	for i, t := range h.Layers {
		switch t {
		case "full_attention":
		case "sliding_attention":
			slides = true
		default:
			return 0, fault.Unsupportedf("%s: layer_types has %q for layer %d, want full_attention", o.place("layer_types"), t, i)
		}
	}
	if !slides || !h.Used && !always {
		return 0, nil
	}
	return h.Window, nil
}

// ropeFields are those of all variations of RoPE that are known here; the ones that
// rope does not look at change nothing where it finds no scaling.
var ropeFields = []string{"rope_type", "type", "rope_theta", "factor", "partial_rotary_factor", "attention_factor", "original_max_position_embeddings",
	"low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "finetuned"}

// rope checks that the variation of RoPE under a key is the plain one, and returns
// the base that it sets, or 0. Scaling by 1 is none, and "dynamic" begins beyond the
// model's context.
func (o object) rope(key string, context int) (theta float64, err error) {
	text, ok := o.get(key)
	if !ok {
		return 0, nil
	}
	refused := fault.Unsupportedf("%s: %s is %.300s: only plain RoPE is supported", o.place(key), key, text)
	inner, err := parseObject([]byte(text))
	if err != nil {
		return 0, fault.Unsupportedf("%s: %s is %.300s, want an object", o.place(key), key, text)
	}
	h := struct {
		Type      string `json:"rope_type"`
		OldType   string `json:"type"`
		Theta     float  `json:"rope_theta"`
		Factor    float  `json:"factor"`
		Partial   float  `json:"partial_rotary_factor"`
		Attention float  `json:"attention_factor"`
		Context   int    `json:"original_max_position_embeddings"`
	}{Partial: 1, Attention: 1}
	if err := inner.decode(&h); err != nil {
		return 0, fmt.Errorf("%s: %s: %w", o.place(key), key, err)
	}
	for name := range inner.fields {
		if !slices.Contains(ropeFields, name) {
			return 0, refused
		}
	}
	plain := h.Partial == 1 && h.Attention == 1
	switch kind := cmp.Or(h.Type, h.OldType, "default"); kind {
	case "default":
	case "linear", "llama3":
		plain = plain && h.Factor == 1
	case "yarn": // some versions take the quotient of the contexts for its factor
		plain = plain && h.Factor == 1 && (h.Context == 0 || h.Context == context)
	case "dynamic":
		plain = plain && (h.Factor == 1 || h.Context == 0 || h.Context == context)
	default:
		plain = false
	}
	if !plain {
		return 0, refused
	}
	return float64(h.Theta), nil
}
