package hf

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
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/names"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

const configName = "config.json"

// Folder is an open folder of a pretrained model as the transformers package
// saves it: config.json, and model.safetensors or the files that
// model.safetensors.index.json lists. The model is of GPT-2's kind
// (GPT2LMHeadModel) or of Llama's (LlamaForCausalLM, MistralForCausalLM). The
// tokenizer.json beside them is for [tokenizer.Open].
type Folder struct {
	// Config is the structure of the model. Context is the longest it was made
	// for, and at most the window of its attention; with RoPE, and cutting learned
	// positions off, a shorter one will do.
	Config  nn.TransformerConfig
	dir     string
	object  object // config.json
	files   []*safetensors.File
	tensors []tensor
	source  map[string]*safetensors.File // of each tensor, by the name in the file
	theirs  map[string]string            // the name in the file, by the full name
}

// Open opens a folder. Before it returns, the configuration and the
// name, shape and type (F32, F16 or BF16) of every tensor are checked; errors name
// the field or the tensor. Values are read when they are asked for.
func Open(dir string) (*Folder, error) {
	f := &Folder{dir: dir, source: map[string]*safetensors.File{}, theirs: map[string]string{}}
	family, err := f.configuration()
	if err == nil {
		err = f.open()
	}
	if err == nil {
		err = f.match(family)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// configuration reads config.json.
func (f *Folder) configuration() (family *family, err error) {
	path := filepath.Join(f.dir, configName)
	data, err := input.Read(path, input.MaxSmall)
	if err != nil {
		return nil, fmt.Errorf("hf: %w", err)
	}
	if f.object, err = parseObject(data); err == nil {
		f.Config, family, err = f.object.structure()
	}
	if err != nil {
		return nil, fmt.Errorf("hf: %s: %w", path, fault.Damaged(err))
	}
	return family, nil
}

// Is reports whether path is a folder with a config.json that names a
// model type, which that of a run does not, or that can't be read: then it is for
// [Open] to say why.
func Is(path string) bool {
	if path == "" { // names no folder, not the current one
		return false
	}
	path = filepath.Join(path, configName)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	data, err := input.Read(path, input.MaxSmall)
	if err != nil {
		return true
	}
	o, err := parseObject(data)
	_, named := o.get("model_type")
	return err != nil || named
}

// Close closes the files.
func (f *Folder) Close() error {
	var err error
	for _, file := range f.files {
		err = errors.Join(err, file.Close())
	}
	f.files = nil
	return err
}

// open opens the one file of the model, or all that the index lists.
func (f *Folder) open() error {
	file, err := safetensors.Open(filepath.Join(f.dir, "model.safetensors"))
	switch {
	case err == nil:
		f.files = append(f.files, file)
		for _, name := range file.Names() {
			f.source[name] = file
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	path := filepath.Join(f.dir, "model.safetensors.index.json")
	data, err := input.Read(path, input.MaxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return f.noModel()
	}
	if err != nil {
		return fmt.Errorf("hf: %w", err)
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := input.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("hf: %s: %w", path, fault.Damaged(err))
	}
	return f.openShards(path, index.Files)
}

// noModel says what the folder has instead of the files that are read.
func (f *Folder) noModel() error {
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "adapter_model.safetensors"} {
		if _, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
			return fault.Unsupportedf("hf: %s has no model.safetensors, but %s, which is not read: save the model with safe_serialization, or take it from where it is stored as safetensors", f.dir, name)
		}
	}
	return fmt.Errorf("hf: %s has neither model.safetensors nor model.safetensors.index.json: %w", f.dir, fs.ErrNotExist)
}

// openShards opens the files that an index lists by the names of their tensors.
func (f *Folder) openShards(path string, index map[string]string) error {
	names := slices.Sorted(maps.Keys(index))
	opened, missing := map[string]*safetensors.File{}, []string{}
	for _, name := range names {
		base := index[name]
		if base != filepath.Base(base) || strings.ContainsAny(base, `/\`) || filepath.Ext(base) != ".safetensors" {
			return fault.Damaged(fmt.Errorf("hf: %s: tensor %q is in %q, which is not a safetensors file of the folder", path, name, base))
		}
		if _, seen := opened[base]; seen {
			continue
		}
		opened[base] = nil
		if _, err := os.Stat(filepath.Join(f.dir, base)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, base)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("hf: %s lists %d files, of which %d are missing, %s: download them: %w", path, len(opened), len(missing), strings.Join(missing, " "), fs.ErrNotExist)
	}
	for _, base := range slices.Sorted(maps.Keys(opened)) {
		file, err := safetensors.Open(filepath.Join(f.dir, base))
		if err != nil {
			return err
		}
		f.files, opened[base] = append(f.files, file), file
	}
	for _, name := range names {
		file := opened[index[name]]
		if _, _, ok := file.Info(name); !ok {
			return fault.Mismatchedf("hf: %s: tensor %q is not in %s", path, name, index[name])
		}
		f.source[name] = file
	}
	return nil
}

// match compares the files' tensors with those of the configuration.
func (f *Folder) match(family *family) error {
	// Also keeps a made-up number of layers from making a list without end.
	if f.Config.Layers > len(f.source) {
		return fault.Mismatchedf("hf: %s: %d layers, but only %d tensors", f.dir, f.Config.Layers, len(f.source))
	}
	f.tensors = family.layout(f.Config)
	if err := f.name(family.base); err != nil {
		return err
	}
	for _, t := range f.tensors {
		name, ok := f.theirs[t.name]
		file := f.source[name]
		if !ok {
			return fault.Mismatchedf("hf: %s: tensor %q is missing", f.dir, t.name)
		}
		kind, shape, _ := file.Info(name)
		if !dtype.Floating(kind) {
			return fault.Unsupportedf("hf: %s: tensor %q is of type %s, want F32, F16 or BF16", file.Path(), name, kind)
		}
		if !slices.Equal(shape, t.shape) {
			return fault.Mismatchedf("hf: %s: tensor %q is %v, want %v", file.Path(), name, shape, t.shape)
		}
	}
	return nil
}

// name finds the full name of each tensor of the files, which they may lack the base
// of, as it is saved from the model without a head.
func (f *Folder) name(base string) error {
	full := map[string]bool{headName: true} // the head may be stored again where it is tied
	for _, t := range f.tensors {
		full[t.name] = true
	}
	find := func(name string) (string, bool) {
		if !full[name] {
			name = base + name
		}
		return name, full[name]
	}
	for _, theirs := range slices.Sorted(maps.Keys(f.source)) {
		name, ok := names.Unwrap(theirs, find)
		other, twice := f.theirs[name]
		switch {
		case !ok && !names.Ignored(theirs, shapeOf(f.source[theirs], theirs)):
			return fault.Mismatchedf("hf: %s: tensor %q is not one of this model", f.source[theirs].Path(), theirs)
		case !ok:
		case twice:
			return fault.Mismatchedf("hf: %s: tensors %q and %q are both %q of this model", f.source[theirs].Path(), other, theirs, name)
		default:
			f.theirs[name] = theirs
		}
	}
	return nil
}

// each calls do with every parameter under its name here. The values are valid
// until do returns.
func (f *Folder) each(do func(name string, values []float32) error) error {
	for _, t := range f.tensors {
		name := f.theirs[t.name]
		values, err := f.source[name].Floats(name)
		if err != nil {
			return err
		}
		for i, name := range t.ours {
			if err := do(name, split(t, values, i)); err != nil {
				return fmt.Errorf("hf: %s: %q: %w", f.dir, name, err)
			}
		}
	}
	return nil
}

// Load uploads the values into the parameters of a transformer of this structure,
// rounded to their type, and into what master returns for each, such as
// [optim.Optimizer.Master]; it may return nil or be nil. Names and shapes are compared
// before anything changes; of learned positions there may be fewer, and the first are
// taken.
func (f *Folder) Load(ctx context.Context, params *ops.Params, master func(*ops.Tensor) *ops.Tensor) error {
	if err := transfer.CheckParams(params); err != nil {
		return fmt.Errorf("hf: load %s: %w", f.dir, err)
	}
	if err := f.checkNames(params); err != nil {
		return err
	}
	return f.each(func(name string, values []float32) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := transfer.CheckStored(values, params.DType()); err != nil {
			return err
		}
		p := params.ByName(name)
		return transfer.Upload(ctx, p, master, values[:p.Len()])
	})
}

// checkNames compares names and shapes with those of parameters.
func (f *Folder) checkNames(params *ops.Params) error {
	known := map[string]bool{}
	for _, t := range f.tensors {
		for _, name := range t.ours {
			known[name] = true
			switch p := params.ByName(name); {
			case p == nil:
				return fault.Mismatchedf("hf: %s has %q, which is no parameter of this model", f.dir, name)
			case !transfer.Fits(p.Shape(), t.ourShape(), name):
				return fault.Mismatchedf("hf: %s has %q as %v, this model as %v", f.dir, name, t.ourShape(), p.Shape())
			}
		}
	}
	for _, p := range params.All() {
		if !known[p.Name()] {
			return fault.Mismatchedf("hf: %s has nothing for the parameter %q", f.dir, p.Name())
		}
	}
	return nil
}

func shapeOf(f *safetensors.File, name string) []int {
	_, shape, _ := f.Info(name)
	return shape
}
