package hf

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// family is a kind of model that the transformers package knows.
type family struct {
	name   string // model_type in config.json
	base   string // what tensors' names begin with, in files of the whole model
	read   func(object) (nn.TransformerConfig, error)
	layout func(nn.TransformerConfig) []tensor // the tensors of its files
	// write returns the fields of config.json for a structure with this Norm, or an error
	// that says which field the family does not have. nil: models are written as another's.
	norm  string
	write func(c nn.TransformerConfig, dtype string) (any, error)
}

var families = []*family{
	{name: "gpt2", base: "transformer.", read: object.gpt2, layout: gpt2Layout, norm: "layernorm", write: gpt2Fields},
	{name: "llama", base: "model.", read: object.llama, layout: llamaLayout, norm: "rmsnorm", write: llamaFields},
	{name: "mistral", base: "model.", read: object.mistral, layout: llamaLayout},
}

func familyOf(name string) (*family, error) {
	var names []string
	for _, f := range families {
		if f.name == name {
			return f, nil
		}
		names = append(names, f.name)
	}
	last := len(names) - 1
	return nil, fault.Unsupportedf("model_type is %q, want %s or %s", name, strings.Join(names[:last], ", "), names[last])
}

// configOf returns the config.json of a structure, and the family that it is written
// as. A structure that no family has is an error that says which field.
func configOf(c nn.TransformerConfig, dtype string) (o object, f *family, err error) {
	var norms []string
	for _, f := range families {
		switch {
		case f.write == nil:
			continue
		case f.norm != c.Norm:
			norms = append(norms, f.norm)
			continue
		}
		fields, err := f.write(c, dtype)
		if err != nil {
			return o, nil, err
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return o, nil, err
		}
		o, err = parseObject(text)
		return o, f, err
	}
	return o, nil, unfit("norm", c.Norm, strings.Join(norms, " or "))
}

func unfit(field, value, want string) error {
	return fault.Unsupportedf("%s is %s, want %s: with the rest it is not a model of Hugging Face's", field, value, want)
}

// ends is the token around texts, where the vocabulary is GPT-2's.
func ends(c nn.TransformerConfig) tokenIDs {
	if c.Vocab != gpt2Vocab {
		return nil
	}
	return tokenIDs{gpt2Vocab - 1}
}

func gpt2Fields(c nn.TransformerConfig, dtype string) (any, error) {
	activation := map[string]string{"gelu_tanh": "gelu_new", "gelu": "gelu", "silu": "silu"}[c.Activation]
	switch {
	case c.Positions != "learned":
		return nil, unfit("positions", c.Positions, "learned")
	case activation == "":
		return nil, unfit("activation", c.Activation, "gelu_tanh, gelu or silu")
	case c.Resolved().KVHeads != c.Heads:
		return nil, unfit("kv_heads", fmt.Sprint(c.KVHeads), fmt.Sprint(c.Heads))
	case c.Resolved().HeadSize*c.Heads != c.Width:
		return nil, unfit("head_size", fmt.Sprint(c.HeadSize), fmt.Sprintf("width/heads, which is %d/%d", c.Width, c.Heads))
	}
	return gpt2Config{Architectures: []string{"GPT2LMHeadModel"}, ModelType: "gpt2", DType: torchTypes[dtype], Vocab: c.Vocab, Context: c.Context, Width: c.Width,
		Layers: c.Layers, Heads: c.Heads, FFN: c.FFN, Activation: activation, NormEps: float(c.NormEps), Tied: c.Tied,
		Dropout: float(c.Dropout), EmbedDropout: float(c.Dropout), Begin: ends(c), End: ends(c)}, nil
}

func llamaFields(c nn.TransformerConfig, dtype string) (any, error) {
	switch {
	case c.Positions != "rope" && c.Positions != "rope_half":
		return nil, unfit("positions", c.Positions, "rope or rope_half")
	case c.Activation != "swiglu":
		return nil, unfit("activation", c.Activation, "swiglu")
	}
	c = c.Resolved()
	size := c.HeadSize
	if size*c.Heads == c.Width {
		size = 0 // not written: older versions of transformers don't know it
	}
	return llamaConfig{Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", DType: torchTypes[dtype], Vocab: c.Vocab, Context: c.Context, Width: c.Width,
		FFN: c.FFN, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadSize: size, Activation: "silu", NormEps: float(c.NormEps), RopeTheta: float(c.RopeTheta), Tied: c.Tied,
		AttentionBias: c.Bias, FFNBias: c.Bias}, nil
}
