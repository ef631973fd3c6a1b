package hf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

// Export writes a transformer as a folder that the transformers package
// loads: config.json and model.safetensors, in the type of the parameters.
// Structures that neither GPT-2 nor Llama has are errors. Interleaved RoPE becomes
// Llama's by a change of order in queries and keys, and biases that GPT-2 has and
// the model has not become zeros. A tokenizer is not written. A model that was
// loaded from such a folder is exported by [Folder.Export].
func Export(ctx context.Context, dir string, c nn.TransformerConfig, params *ops.Params) error {
	if err := transfer.CheckParams(params); err != nil {
		return fmt.Errorf("hf: export to %s: %w", dir, err)
	}
	return Model{Config: c, DType: transfer.DType(params.DType()), Param: paramsOf(ctx, params)}.Write(dir, nil)
}

// Export writes the parameters of a transformer of this structure as a folder like
// this one: its config.json with all that is in it, its types of values, and its
// tokenizer. Nothing but values changes.
func (f *Folder) Export(ctx context.Context, dir string, params *ops.Params) error {
	if err := transfer.CheckParams(params); err != nil {
		return fmt.Errorf("hf: export to %s: %w", dir, err)
	}
	origin := f.Origin()
	m := Model{Config: f.Config, DType: origin.DType, Origin: origin.Config, Param: paramsOf(ctx, params)}
	return m.Write(dir, func(to string) error {
		return errors.Join(copyBeside(to, f.dir, tokenizer.FileName), CopyTokenizer(to, f.dir), CopyGeneration(to, f.dir))
	})
}

func paramsOf(ctx context.Context, params *ops.Params) func(string) (Tensor, bool) {
	return func(name string) (Tensor, bool) {
		p := params.ByName(name)
		if p == nil {
			return Tensor{}, false
		}
		return Tensor{transfer.DType(p.DType()), p.Shape(), func() ([]byte, error) { return transfer.Download(ctx, p) }}, true
	}
}

// Model is a transformer that is to be written as a folder.
type Model struct {
	Config nn.TransformerConfig
	DType  string // of the values that are written: "F32", "F16" or "BF16"
	Origin string // config.json of the model that training started from, or ""
	// Param returns a parameter by its name in package nn.
	Param func(name string) (p Tensor, ok bool)
}

// Tensor is a parameter of a [Model].
type Tensor struct {
	DType string
	Shape []int
	Read  func() ([]byte, error) // its values: little-endian, row-major
}

// Origin is what an export needs of the folder that training started from, to be
// like it.
type Origin struct {
	Config string // config.json
	DType  string // of the values; where there are several, the one that holds all of them
}

// Origin returns what an export like this folder needs.
func (f *Folder) Origin() Origin { return Origin{string(f.object.text), f.dtype()} }

// At reports whether the model that was opened lies in a folder: its config.json is there.
func (o Origin) At(dir string) bool {
	if o.Config == "" || !Is(dir) {
		return false
	}
	text, err := input.Read(filepath.Join(dir, configName), input.MaxSmall)
	return err == nil && string(text) == o.Config
}

// Write writes the folder as [Export] does, or with an Origin as [Folder.Export]. It
// overwrites no model. The folder appears whole, or not at all: what beside, unless it is nil,
// writes to the folder that it is called with is part of it.
func (e Model) Write(dir string, beside func(to string) error) error {
	fail := func(err error) error { return fmt.Errorf("hf: export to %s: %w", dir, err) }
	if err := errors.Join(e.Config.Validate(), checkNew(dir)); err != nil {
		return fail(err)
	}
	config, family, err := configOf(e.Config, e.DType)
	if err == nil && e.Origin != "" {
		config, err = e.adapt(config)
	}
	if err != nil {
		return fail(err)
	}
	var entries []safetensors.Entry
	for _, t := range family.layout(e.Config) {
		parts, err := e.parts(t)
		if err != nil {
			return fail(err)
		}
		entries = append(entries, safetensors.Entry{Name: t.name, DType: e.DType, Shape: t.shape, Write: func(w io.Writer) error { return writeTensor(w, t, e.DType, parts) }})
	}
	write := func(to string) error {
		// The transformers package asks for the format's name.
		if err := safetensors.Save(filepath.Join(to, "model.safetensors"), map[string]string{"format": "pt"}, entries); err != nil {
			return err
		}
		if err := output.Replace(output.OS{}, filepath.Join(to, configName), config.bytes()); err != nil {
			return err
		}
		if beside == nil {
			return nil
		}
		return beside(to)
	}
	if err := output.Folder(dir, write, configName); err != nil {
		return fail(err)
	}
	return nil
}

// parts returns the sources of one tensor, in order.
func (e Model) parts(t tensor) ([]Tensor, error) {
	var parts []Tensor
	for _, name := range t.ours {
		s, ok := e.Param(name)
		switch {
		case !ok && strings.HasSuffix(name, ".bias") && !e.Config.Bias:
			s = Tensor{e.DType, t.ourShape(), func() ([]byte, error) { return make([]byte, int64(t.ourShape()[0])*dtype.Size[e.DType]), nil }}
		case !ok:
			return nil, fault.Mismatchedf("parameter %q is missing", name)
		case !slices.Equal(s.Shape, t.ourShape()):
			return nil, fault.Mismatchedf("parameter %q is %v, want %v", name, s.Shape, t.ourShape())
		}
		parts = append(parts, s)
	}
	return parts, nil
}

// adapt returns the origin's config.json. Where its structure is not the model's any
// more, because the context was changed, say, the fields of ours take their place.
func (e Model) adapt(ours object) (object, error) {
	o, err := parseObject([]byte(e.Origin))
	if err != nil {
		return o, err
	}
	var c nn.TransformerConfig // what o says
	same := func() (bool, error) {
		var err error
		c, _, err = o.structure()
		c.Dropout, c.Recompute, c.Init = e.Config.Dropout, e.Config.Recompute, e.Config.Init
		return c.Resolved() == e.Config.Resolved(), err
	}
	ok, err := same()
	if err == nil && !ok {
		for _, other := range gpt2Names {
			delete(o.fields, other)
		}
		for key, value := range ours.fields {
			if !slices.Contains(notStructure, key) {
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
		err = fault.Mismatchedf("the config.json that training started from can't describe the model: %s", differences(c, e.Config))
	}
	return o, err
}

// differences names the fields that a config.json says differently than the model.
func differences(said, is nn.TransformerConfig) string {
	var all []string
	a, b := reflect.ValueOf(said.Resolved()), reflect.ValueOf(is.Resolved())
	for i := range a.NumField() {
		if x, y := a.Field(i).Interface(), b.Field(i).Interface(); x != y {
			all = append(all, fmt.Sprintf("%s would be %v and is %v", a.Type().Field(i).Tag.Get("json"), x, y))
		}
	}
	return strings.Join(all, ", ")
}

// notStructure are fields of an exported config.json that a model's own have their
// say about.
var notStructure = []string{"architectures", "model_type", "torch_dtype", "resid_pdrop", "embd_pdrop", "attn_pdrop", "bos_token_id", "eos_token_id"}

// torchTypes are the names of storage types in a config.json.
var torchTypes = map[string]string{"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

// dtype returns the type of the folder's values; where there are several, the one
// that holds all of them.
func (f *Folder) dtype() string {
	all := ""
	for _, t := range f.tensors {
		name := f.theirs[t.name]
		dtype, _, _ := f.source[name].Info(name)
		if all != "" && all != dtype {
			return "F32"
		}
		all = dtype
	}
	return all
}

// writeTensor writes one tensor from its parts.
func writeTensor(w io.Writer, t tensor, kind string, parts []Tensor) error {
	var raw []byte
	for i, part := range parts {
		data, err := part.Read()
		if err == nil && part.DType != kind {
			data, err = convert(data, part.DType, kind)
		}
		if err != nil {
			return fmt.Errorf("parameter %q: %w", t.ours[i], err)
		}
		raw = append(raw, data...)
	}
	if dtype.Size[kind] == 4 {
		return writeJoined[uint32](w, t, raw)
	}
	return writeJoined[uint16](w, t, raw)
}

func writeJoined[T uint16 | uint32](w io.Writer, t tensor, raw []byte) error {
	values := make([]T, len(raw)/binary.Size(T(0)))
	if _, err := binary.Decode(raw, binary.LittleEndian, values); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, join(t, values))
}

// convert rounds values of a file to another floating-point type. One that is finite
// and does not fit is an error.
func convert(raw []byte, from, to string) ([]byte, error) {
	size := int(dtype.Size[from])
	out := make([]byte, 0, len(raw)/size*int(dtype.Size[to]))
	for i := 0; i < len(raw); i += size {
		v := dtype.Float32(from, raw[i:])
		switch to {
		case "F32":
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		case "F16":
			out = binary.LittleEndian.AppendUint16(out, ops.F16.Bits(v))
		case "BF16":
			out = binary.LittleEndian.AppendUint16(out, ops.BF16.Bits(v))
		}
		if !math.IsInf(float64(v), 0) && math.IsInf(float64(dtype.Float32(to, out[len(out)-int(dtype.Size[to]):])), 0) {
			return nil, fault.Mismatchedf("value %d is %v, which %s does not hold", i/size, v, torchTypes[to])
		}
	}
	return out, nil
}

// checkNew reports that another model is in a folder.
func checkNew(dir string) error {
	return output.CheckNew(dir, func(name string) bool {
		return filepath.Ext(name) == ".safetensors" || slices.Contains([]string{configName, generationName, tokenizer.FileName}, name)
	})
}

// generationName is the file that says how texts are generated.
const generationName = "generation_config.json"

// tokenizerFiles say how a tokenizer is used, beside its tokenizer.json.
var tokenizerFiles = []string{"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
	"tokenizer.model", "chat_template.jinja", "chat_template.json"}

// CopyTokenizer copies the files that a folder has of a tokenizer, beside its
// tokenizer.json.
func CopyTokenizer(to, from string) error { return copyBeside(to, from, tokenizerFiles...) }

// CopyGeneration copies the generation_config.json of a folder, if it has one.
func CopyGeneration(to, from string) error { return copyBeside(to, from, generationName) }

// copyBeside copies the files of those names that a folder has.
func copyBeside(to, from string, names ...string) error {
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = output.Replace(output.OS{}, filepath.Join(to, name), data)
		}
		if err != nil {
			return err // names the file
		}
	}
	return nil
}
