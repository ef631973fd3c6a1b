package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// HuggingFace is an open folder of a pretrained model as the transformers package
// saves it: config.json, and model.safetensors or the files that
// model.safetensors.index.json lists. The model is of GPT-2's kind
// (GPT2LMHeadModel) or of Llama's (LlamaForCausalLM, MistralForCausalLM). The
// tokenizer.json beside them is for [NewTokenizer].
type HuggingFace struct {
	// Config is the structure of the model. Context is the longest it was made
	// for, and at most the window of its attention; with RoPE, and cutting learned
	// positions off, a shorter one will do.
	Config nn.TransformerConfig
	// BOS, EOS and Pad are the ids of the tokens that begin, end and fill up texts,
	// as the folder says; there may be none.
	BOS, EOS, Pad []int32

	dir     string
	object  hfObject // config.json
	files   []*File
	tensors []hfTensor
	source  map[string]*File  // of each tensor, by the name in the file
	theirs  map[string]string // the name in the file, by the full name
}

// OpenHuggingFace opens a folder. Before it returns, the configuration and the
// name, shape and type (F32, F16 or BF16) of every tensor are checked; errors name
// the field or the tensor. Values are read when they are asked for.
func OpenHuggingFace(dir string) (*HuggingFace, error) {
	h := &HuggingFace{dir: dir, source: map[string]*File{}, theirs: map[string]string{}}
	kind, err := h.configuration()
	if err == nil {
		err = h.open()
	}
	if err == nil {
		err = h.match(kind)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// configuration reads config.json.
func (h *HuggingFace) configuration() (kind string, err error) {
	path := filepath.Join(h.dir, configName)
	data, err := input.Read(path, maxSmallFile)
	if err != nil {
		return "", fmt.Errorf("train: %w", err)
	}
	if h.object, err = parseHFObject(data); err == nil {
		h.Config, kind, err = h.object.structure()
	}
	ids := struct {
		BOS hfIDs `json:"bos_token_id"`
		EOS hfIDs `json:"eos_token_id"`
		Pad hfIDs `json:"pad_token_id"`
	}{}
	if err == nil {
		err = h.object.decode(&ids)
	}
	if err != nil {
		return "", fmt.Errorf("train: %s: %w", path, err)
	}
	h.BOS, h.EOS, h.Pad = ids.BOS, ids.EOS, ids.Pad
	return kind, nil
}

// IsHuggingFace reports whether path is a folder with a config.json that names a
// model type, which that of a run does not, or that can't be read: then it is for
// [OpenHuggingFace] to say why.
func IsHuggingFace(path string) bool {
	if info, err := os.Stat(filepath.Join(path, configName)); err != nil || !info.Mode().IsRegular() {
		return false
	}
	if newest, _, err := Latest(path, checkpointName); err != nil || newest != "" {
		return false
	}
	data, err := input.Read(filepath.Join(path, configName), maxSmallFile)
	if err != nil {
		return true
	}
	o, err := parseHFObject(data)
	_, named := o.get("model_type")
	return err != nil || named
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
	data, err := input.Read(path, maxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return h.noModel()
	}
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := input.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("train: %s: %w", path, err)
	}
	return h.openShards(path, index.Files)
}

// noModel says what the folder has instead of the files that are read.
func (h *HuggingFace) noModel() error {
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "adapter_model.safetensors"} {
		if _, err := os.Stat(filepath.Join(h.dir, name)); err == nil {
			return fmt.Errorf("train: %s has no model.safetensors, but %s, which is not read: save the model with safe_serialization, or take it from where it is stored as safetensors", h.dir, name)
		}
	}
	return fmt.Errorf("train: %s has neither model.safetensors nor model.safetensors.index.json: %w", h.dir, fs.ErrNotExist)
}

// openShards opens the files that an index lists by the names of their tensors.
func (h *HuggingFace) openShards(path string, index map[string]string) error {
	names := slices.Sorted(maps.Keys(index))
	opened, missing := map[string]*File{}, []string{}
	for _, name := range names {
		base := index[name]
		if base != filepath.Base(base) || strings.ContainsAny(base, `/\`) || filepath.Ext(base) != checkpointExt {
			return fmt.Errorf("train: %s: tensor %q is in %q, which is not a safetensors file of the folder", path, name, base)
		}
		if _, seen := opened[base]; seen {
			continue
		}
		opened[base] = nil
		if _, err := os.Stat(filepath.Join(h.dir, base)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, base)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("train: %s lists %d files, of which %d are missing, %s: download them: %w", path, len(opened), len(missing), strings.Join(missing, " "), fs.ErrNotExist)
	}
	for _, base := range slices.Sorted(maps.Keys(opened)) {
		f, err := OpenSafetensors(filepath.Join(h.dir, base))
		if err != nil {
			return err
		}
		h.files, opened[base] = append(h.files, f), f
	}
	for _, name := range names {
		f := opened[index[name]]
		if _, _, ok := f.Info(name); !ok {
			return fmt.Errorf("train: %s: tensor %q is not in %s", path, name, index[name])
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
	if err := h.name(base); err != nil {
		return err
	}
	for _, t := range h.tensors {
		name, ok := h.theirs[t.name]
		f := h.source[name]
		if !ok {
			return fmt.Errorf("train: %s: tensor %q is missing", h.dir, t.name)
		}
		dtype, shape, _ := f.Info(name)
		if dtype != "F32" && dtype != "F16" && dtype != "BF16" {
			return fmt.Errorf("train: %s: tensor %q is of type %s, want F32, F16 or BF16", f.path, name, dtype)
		}
		if !slices.Equal(shape, t.shape) {
			return fmt.Errorf("train: %s: tensor %q is %v, want %v", f.path, name, shape, t.shape)
		}
	}
	return nil
}

// name finds the full name of each tensor of the files, which they may lack the base
// of, as it is saved from the model without a head.
func (h *HuggingFace) name(base string) error {
	full := map[string]bool{hfHead: true} // the head may be stored again where it is tied
	for _, t := range h.tensors {
		full[t.name] = true
	}
	find := func(name string) (string, bool) {
		if !full[name] {
			name = base + name
		}
		return name, full[name]
	}
	for _, theirs := range slices.Sorted(maps.Keys(h.source)) {
		name, ok := unwrap(theirs, find)
		other, twice := h.theirs[name]
		switch {
		case !ok && !hfIgnored(theirs, h.source[theirs].tensors[theirs].shape):
			return fmt.Errorf("train: %s: tensor %q is not one of this model", h.source[theirs].path, theirs)
		case !ok:
		case twice:
			return fmt.Errorf("train: %s: tensors %q and %q are both %q of this model", h.source[theirs].path, other, theirs, name)
		default:
			h.theirs[name] = theirs
		}
	}
	return nil
}

// each calls f with every parameter under its name here. The values are valid
// until f returns.
func (h *HuggingFace) each(f func(name string, shape []int, values []float32) error) error {
	for _, t := range h.tensors {
		name := h.theirs[t.name]
		values, err := h.source[name].floats(name)
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
	if err := checkState(params, nil); err != nil {
		return fmt.Errorf("train: load %s: %w", h.dir, err)
	}
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
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := checkStored(values, params.DType()); err != nil {
			return err
		}
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
