package train

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// ExportHuggingFace writes a transformer as a folder that the transformers package
// loads: config.json and model.safetensors, in the type of the parameters.
// Structures that neither GPT-2 nor Llama has are errors. Interleaved RoPE becomes
// Llama's by a change of order in queries and keys, and biases that GPT-2 has and
// the model has not become zeros. A tokenizer is not written. A model that was
// loaded from such a folder is exported by [HuggingFace.Export].
func ExportHuggingFace(ctx context.Context, dir string, c nn.TransformerConfig, params *ops.Params) error {
	if err := checkState(params, nil); err != nil {
		return fmt.Errorf("train: export to %s: %w", dir, err)
	}
	return hfExport{dir: dir, structure: c, dtype: fileDType(params.DType()), source: deviceSource(ctx, params)}.write()
}

// Export writes the parameters of a transformer of this structure as a folder like
// this one: its config.json with all that is in it, its types of values, and its
// tokenizer. Nothing but values changes.
func (h *HuggingFace) Export(ctx context.Context, dir string, params *ops.Params) error {
	if err := checkState(params, nil); err != nil {
		return fmt.Errorf("train: export to %s: %w", dir, err)
	}
	e := hfExport{dir: dir, structure: h.Config, dtype: h.dtype(), origin: string(h.object.text), source: deviceSource(ctx, params)}
	if err := e.write(); err != nil {
		return err
	}
	return copyBeside(dir, h.dir, append([]string{generationName, tokenizer.FileName}, tokenizerFiles...))
}

func deviceSource(ctx context.Context, params *ops.Params) func(string) (hfSource, bool) {
	return func(name string) (hfSource, bool) {
		p := params.ByName(name)
		if p == nil {
			return hfSource{}, false
		}
		return hfSource{fileDType(p.DType()), p.Shape(), func() ([]byte, error) { return download(ctx, p) }}, true
	}
}

// hfExport is a folder to be written.
type hfExport struct {
	dir       string
	structure nn.TransformerConfig
	dtype     string // of the values
	origin    string // config.json of the model that training started from, or ""
	source    func(name string) (hfSource, bool)
}

// hfSource is a parameter to be exported.
type hfSource struct {
	dtype string
	shape []int
	read  func() ([]byte, error)
}

func (e hfExport) write() error {
	fail := func(err error) error { return fmt.Errorf("train: export to %s: %w", e.dir, err) }
	if err := errors.Join(e.structure.Validate(), checkExport(e.dir)); err != nil {
		return fail(err)
	}
	config, kind, err := hfConfig(e.structure, e.dtype)
	if err == nil && e.origin != "" {
		config, err = e.adapt(config)
	}
	if err != nil {
		return fail(err)
	}
	layout := gpt2Layout
	if kind == "llama" {
		layout = llamaLayout
	}
	var entries []Entry
	for _, t := range layout(e.structure) {
		parts, err := e.parts(t)
		if err != nil {
			return fail(err)
		}
		entries = append(entries, Entry{Name: t.name, DType: e.dtype, Shape: t.shape, Write: func(w io.Writer) error { return writeHF(w, t, e.dtype, parts) }})
	}
	// The transformers package asks for the format's name.
	if err := SaveFile(filepath.Join(e.dir, "model.safetensors"), map[string]string{"format": "pt"}, entries); err != nil {
		return err
	}
	return replaceFile(osFiles{}, filepath.Join(e.dir, "config.json"), func(w io.Writer) error {
		_, err := w.Write(config.bytes())
		return err
	})
}

// parts returns the sources of one tensor, in order.
func (e hfExport) parts(t hfTensor) ([]hfSource, error) {
	var parts []hfSource
	for _, name := range t.ours {
		s, ok := e.source(name)
		switch {
		case !ok && strings.HasSuffix(name, ".bias") && !e.structure.Bias:
			s = hfSource{e.dtype, t.ourShape(), func() ([]byte, error) { return make([]byte, int64(t.ourShape()[0])*elementSize[e.dtype]), nil }}
		case !ok:
			return nil, fmt.Errorf("parameter %q is missing", name)
		case !slices.Equal(s.shape, t.ourShape()):
			return nil, fmt.Errorf("parameter %q is %v, want %v", name, s.shape, t.ourShape())
		}
		parts = append(parts, s)
	}
	return parts, nil
}

// adapt returns the origin's config.json. Where its structure is not the model's any
// more, because the context was changed, say, the fields of ours take their place.
func (e hfExport) adapt(ours hfObject) (hfObject, error) {
	o, err := parseHFObject([]byte(e.origin))
	if err != nil {
		return o, err
	}
	same := func() (bool, error) {
		c, _, err := o.structure()
		c.Dropout, c.Recompute, c.Init = e.structure.Dropout, e.structure.Recompute, e.structure.Init
		return c == e.structure, err
	}
	ok, err := same()
	if err == nil && !ok {
		for _, other := range gpt2Names {
			delete(o.fields, other)
		}
		for key, value := range ours.fields {
			if !slices.Contains(hfNotStructure, key) {
				o.fields[key] = value
			}
		}
		ok, err = same()
	}
	if err == nil && !ok { // another rope_theta than the one inside, which was of plain RoPE
		delete(o.fields, "rope_parameters")
		ok, err = same()
	}
	if err == nil && !ok {
		err = fmt.Errorf("the config.json that training started from does not fit the model: %s", e.origin)
	}
	return o, err
}

// hfNotStructure are fields of an exported config.json that a model's own have their
// say about.
var hfNotStructure = []string{"architectures", "model_type", "torch_dtype", "resid_pdrop", "embd_pdrop", "attn_pdrop", "bos_token_id", "eos_token_id"}

// torchTypes are the names of storage types in a config.json.
var torchTypes = map[string]string{"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

// dtype returns the type of the folder's values; where there are several, the one
// that holds all of them.
func (h *HuggingFace) dtype() string {
	all := ""
	for _, t := range h.tensors {
		name := h.theirs[t.name]
		dtype, _, _ := h.source[name].Info(name)
		if all != "" && all != dtype {
			return "F32"
		}
		all = dtype
	}
	return all
}

// origin is the Hugging Face folder that training started from, as its export needs
// it: config.json and the type of the values. It is metadata of the checkpoints.
type origin struct{ config, dtype string }

const originKey, originTypeKey = "huggingface", "huggingface_dtype"

func originOf(meta map[string]string) origin { return origin{meta[originKey], meta[originTypeKey]} }

// add puts it into the metadata of a checkpoint.
func (o origin) add(meta map[string]string) {
	if o.config != "" {
		meta[originKey], meta[originTypeKey] = o.config, o.dtype
	}
}

// hfConfig returns the config.json of a structure, and whether it is GPT-2's kind
// or Llama's. A structure that is neither is an error that says which field.
func hfConfig(c nn.TransformerConfig, dtype string) (o hfObject, kind string, err error) {
	fields, kind, err := hfFields(c, dtype)
	if err != nil {
		return o, "", err
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return o, "", err
	}
	o, err = parseHFObject(text)
	return o, kind, err
}

func hfFields(c nn.TransformerConfig, dtype string) (fields any, kind string, err error) {
	var text hfIDs // the token around texts, where the vocabulary is GPT-2's
	if c.Vocab == gpt2Vocab {
		text = hfIDs{gpt2Vocab - 1}
	}
	kvHeads := cmp.Or(c.KVHeads, c.Heads)
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
		return hfGPT2{Architectures: []string{"GPT2LMHeadModel"}, ModelType: "gpt2", DType: torchTypes[dtype], Vocab: c.Vocab, Context: c.Context, Width: c.Width,
			Layers: c.Layers, Heads: c.Heads, FFN: c.FFN, Activation: activation, NormEps: hfFloat(c.NormEps), Tied: c.Tied,
			Dropout: hfFloat(c.Dropout), EmbedDropout: hfFloat(c.Dropout), Begin: text, End: text}, "gpt2", nil
	case "rmsnorm":
		switch {
		case c.Positions != "rope" && c.Positions != "rope_half":
			return nil, "", unfit("positions", c.Positions, "rope or rope_half")
		case c.Activation != "swiglu":
			return nil, "", unfit("activation", c.Activation, "swiglu")
		}
		return hfLlama{Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", DType: torchTypes[dtype], Vocab: c.Vocab, Context: c.Context, Width: c.Width,
			FFN: c.FFN, Layers: c.Layers, Heads: c.Heads, KVHeads: kvHeads, Activation: "silu", NormEps: hfFloat(c.NormEps), RopeTheta: hfFloat(c.RopeTheta), Tied: c.Tied,
			AttentionBias: c.Bias, FFNBias: c.Bias}, "llama", nil
	}
	return nil, "", unfit("norm", c.Norm, "layernorm or rmsnorm")
}

// writeHF writes one tensor from its parts.
func writeHF(w io.Writer, t hfTensor, dtype string, parts []hfSource) error {
	var raw []byte
	for i, part := range parts {
		data, err := part.read()
		if err == nil && part.dtype != dtype {
			data, err = convert(data, part.dtype, dtype)
		}
		if err != nil {
			return fmt.Errorf("parameter %q: %w", t.ours[i], err)
		}
		raw = append(raw, data...)
	}
	if elementSize[dtype] == 4 {
		return writeJoined[uint32](w, t, raw)
	}
	return writeJoined[uint16](w, t, raw)
}

func writeJoined[T uint16 | uint32](w io.Writer, t hfTensor, raw []byte) error {
	values := make([]T, len(raw)/binary.Size(T(0)))
	if _, err := binary.Decode(raw, binary.LittleEndian, values); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, join(t, values))
}

// convert rounds values of a file to another floating-point type. One that is finite
// and does not fit is an error.
func convert(raw []byte, from, to string) ([]byte, error) {
	size := int(elementSize[from])
	out := make([]byte, 0, len(raw)/size*int(elementSize[to]))
	for i := 0; i < len(raw); i += size {
		v := floatFrom(from, raw[i:])
		switch to {
		case "F32":
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		case "F16":
			out = binary.LittleEndian.AppendUint16(out, ops.F16.Bits(v))
		case "BF16":
			out = binary.LittleEndian.AppendUint16(out, ops.BF16.Bits(v))
		}
		if !math.IsInf(float64(v), 0) && math.IsInf(float64(floatFrom(to, out[len(out)-int(elementSize[to]):])), 0) {
			return nil, fmt.Errorf("value %d is %v, which %s does not hold", i/size, v, torchTypes[to])
		}
	}
	return out, nil
}

// Files of a folder that say how a model is used, beside its config.json.
const generationName = "generation_config.json"

var tokenizerFiles = []string{"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
	"tokenizer.model", "chat_template.jinja", "chat_template.json"}

// copyBeside copies the files of those names that a folder has.
func copyBeside(to, from string, names []string) error {
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = replaceFile(osFiles{}, filepath.Join(to, name), func(w io.Writer) error {
				_, err := w.Write(data)
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("train: export to %s: %w", to, err)
		}
	}
	return nil
}
