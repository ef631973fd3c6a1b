package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// HuggingFace is an open folder of a pretrained model as the transformers package
// saves it: config.json, and model.safetensors or the files that
// model.safetensors.index.json lists. The model is of GPT-2's kind
// (GPT2LMHeadModel) or of Llama's (LlamaForCausalLM). The tokenizer.json beside
// them is for [NewTokenizer].
type HuggingFace struct {
	// Config is the structure of the model. Context is the longest it was made
	// for; with RoPE, and cutting learned positions off, a shorter one will do.
	Config nn.TransformerConfig

	dir     string
	files   []*File
	tensors []hfTensor
	source  map[string]*File // of each tensor, by the name in the file
	prefix  string           // what the files' names lack of the full names
}

// OpenHuggingFace opens a folder. Before it returns, the configuration and the
// name, shape and type (F32, F16 or BF16) of every tensor are checked; errors name
// the tensor. Values are read when they are asked for.
func OpenHuggingFace(dir string) (*HuggingFace, error) {
	c, kind, err := readHFConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	h := &HuggingFace{Config: c, dir: dir, source: map[string]*File{}}
	if err = h.open(); err == nil {
		err = h.match(kind)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// IsHuggingFace reports whether path is a folder with a config.json that names a
// model type, which the folder of a run does not.
func IsHuggingFace(path string) bool {
	data, err := readSmall(filepath.Join(path, "config.json"))
	var config struct {
		Type string `json:"model_type"`
	}
	return err == nil && json.Unmarshal(data, &config) == nil && config.Type != ""
}

// Close closes the files.
func (h *HuggingFace) Close() error {
	var err error
	for _, f := range h.files {
		err = errors.Join(err, f.Close())
	}
	h.files = nil
	return err
}

// open opens the one file of the model, or all that the index lists.
func (h *HuggingFace) open() error {
	f, err := OpenSafetensors(filepath.Join(h.dir, "model.safetensors"))
	switch {
	case err == nil:
		h.files = append(h.files, f)
		for _, name := range f.Names() {
			h.source[name] = f
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	path := filepath.Join(h.dir, "model.safetensors.index.json")
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("train: %s has neither model.safetensors nor model.safetensors.index.json: %w", h.dir, fs.ErrNotExist)
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		return fmt.Errorf("train: %s: %w", path, err)
	}
	opened := map[string]*File{}
	for _, name := range slices.Sorted(maps.Keys(index.Files)) {
		base := index.Files[name]
		f := opened[base]
		if f == nil {
			if base != filepath.Base(base) || strings.ContainsAny(base, `/\`) || filepath.Ext(base) != checkpointExt {
				return fmt.Errorf("train: %s: tensor %q is in %q, which is not a safetensors file of the folder", path, name, base)
			}
			if f, err = OpenSafetensors(filepath.Join(h.dir, base)); err != nil {
				return err
			}
			h.files, opened[base] = append(h.files, f), f
		}
		if _, _, ok := f.Info(name); !ok {
			return fmt.Errorf("train: %s: tensor %q is not in %s", path, name, base)
		}
		h.source[name] = f
	}
	return nil
}

// match compares the files' tensors with those of the configuration.
func (h *HuggingFace) match(kind string) error {
	// Also keeps a made-up number of layers from making a list without end.
	if h.Config.Layers > len(h.source) {
		return fmt.Errorf("train: %s: %d layers, but only %d tensors", h.dir, h.Config.Layers, len(h.source))
	}
	layout, base := gpt2Layout, "transformer."
	if kind == "llama" {
		layout, base = llamaLayout, "model."
	}
	h.tensors = layout(h.Config)
	if _, ok := h.source[h.tensors[0].name]; !ok {
		h.prefix = base // saved from the model without a head
	}
	wanted := map[string]bool{}
	for _, t := range h.tensors {
		name := h.name(t)
		wanted[name] = true
		f := h.source[name]
		if f == nil {
			return fmt.Errorf("train: %s: tensor %q is missing", h.dir, name)
		}
		dtype, shape, _ := f.Info(name)
		if dtype != "F32" && dtype != "F16" && dtype != "BF16" {
			return fmt.Errorf("train: %s: tensor %q is of type %s, want F32, F16 or BF16", f.path, name, dtype)
		}
		if !slices.Equal(shape, t.shape) {
			return fmt.Errorf("train: %s: tensor %q is %v, want %v", f.path, name, shape, t.shape)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.source)) {
		if !wanted[name] && !hfIgnored(name, h.Config.Tied) {
			return fmt.Errorf("train: %s: tensor %q is not one of this model", h.source[name].path, name)
		}
	}
	return nil
}

func (h *HuggingFace) name(t hfTensor) string { return strings.TrimPrefix(t.name, h.prefix) }

// each calls f with every parameter under its name here. The values are valid
// until f returns.
func (h *HuggingFace) each(f func(name string, shape []int, values []float32) error) error {
	for _, t := range h.tensors {
		values, err := h.source[h.name(t)].floats(h.name(t))
		if err != nil {
			return err
		}
		for i, name := range t.ours {
			if err := f(name, t.ourShape(), split(t, values, i)); err != nil {
				return fmt.Errorf("train: %s: %q: %w", h.dir, name, err)
			}
		}
	}
	return nil
}

// Load uploads the values into the parameters of a transformer of this structure,
// rounded to their type. Names and shapes are compared before anything changes;
// of learned positions there may be fewer, and the first are taken.
func (h *HuggingFace) Load(ctx context.Context, params *ops.Params) error {
	return h.load(ctx, params, itself)
}

// load uploads each parameter to all that targets returns for it.
func (h *HuggingFace) load(ctx context.Context, params *ops.Params, targets func(*ops.Tensor) []*ops.Tensor) error {
	known := map[string]bool{}
	for _, t := range h.tensors {
		for _, name := range t.ours {
			known[name] = true
			switch p := params.ByName(name); {
			case p == nil:
				return fmt.Errorf("train: %s has %q, which is no parameter of this model", h.dir, name)
			case !fits(p.Shape(), t.ourShape(), name):
				return fmt.Errorf("train: %s has %q as %v, this model as %v", h.dir, name, t.ourShape(), p.Shape())
			}
		}
	}
	for _, p := range params.All() {
		if !known[p.Name()] {
			return fmt.Errorf("train: %s has nothing for the parameter %q", h.dir, p.Name())
		}
	}
	return h.each(func(name string, _ []int, values []float32) error {
		for _, p := range targets(params.ByName(name)) {
			if err := ops.Upload(ctx, p, values[:p.Len()]); err != nil {
				return err
			}
		}
		return nil
	})
}

// fits reports whether a parameter takes values of the shape theirs.
func fits(ours, theirs []int, name string) bool {
	if name == "position_embeddings.weight" {
		return len(ours) == 2 && len(theirs) == 2 && ours[0] <= theirs[0] && ours[1] == theirs[1]
	}
	return slices.Equal(ours, theirs)
}

// ExportHuggingFace writes a transformer as a folder that the transformers package
// loads: config.json and model.safetensors, in the type of the parameters.
// Structures that neither GPT-2 nor Llama has are errors. Interleaved RoPE becomes
// Llama's by a change of order in queries and keys, and biases that GPT-2 has and
// the model has not become zeros. A tokenizer is not written.
func ExportHuggingFace(ctx context.Context, dir string, c nn.TransformerConfig, params *ops.Params) error {
	return exportHF(dir, c, fileDType(params.DType()), func(name string) (hfSource, bool) {
		p := params.ByName(name)
		if p == nil {
			return hfSource{}, false
		}
		return hfSource{fileDType(p.DType()), p.Shape(), func() ([]byte, error) { return download(ctx, p) }}, true
	})
}

// hfSource is a parameter to be exported.
type hfSource struct {
	dtype string
	shape []int
	read  func() ([]byte, error)
}

func exportHF(dir string, c nn.TransformerConfig, dtype string, source func(name string) (hfSource, bool)) error {
	fail := func(err error) error { return fmt.Errorf("train: export to %s: %w", dir, err) }
	if err := errors.Join(c.Validate(), checkExport(dir)); err != nil {
		return fail(err)
	}
	config, kind, err := hfConfig(c, dtype)
	if err != nil {
		return fail(err)
	}
	layout := gpt2Layout
	if kind == "llama" {
		layout = llamaLayout
	}
	var entries []Entry
	for _, t := range layout(c) {
		var parts []hfSource
		for _, name := range t.ours {
			s, ok := source(name)
			switch {
			case !ok && strings.HasSuffix(name, ".bias") && !c.Bias:
				s = hfSource{dtype, t.ourShape(), func() ([]byte, error) { return make([]byte, int64(t.ourShape()[0])*elementSize[dtype]), nil }}
			case !ok:
				return fail(fmt.Errorf("parameter %q is missing", name))
			case s.dtype != dtype || !slices.Equal(s.shape, t.ourShape()):
				return fail(fmt.Errorf("parameter %q is %s%v, want %s%v", name, s.dtype, s.shape, dtype, t.ourShape()))
			}
			parts = append(parts, s)
		}
		entries = append(entries, Entry{Name: t.name, DType: dtype, Shape: t.shape, Write: func(w io.Writer) error { return writeHF(w, t, dtype, parts) }})
	}
	// The transformers package asks for the format's name.
	if err := SaveFile(filepath.Join(dir, "model.safetensors"), map[string]string{"format": "pt"}, entries); err != nil {
		return err
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return fail(err)
	}
	return replaceFile(osFiles{}, filepath.Join(dir, "config.json"), func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}
