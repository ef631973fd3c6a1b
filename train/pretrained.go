package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
	"github.com/lemnos-ml/lemnos/vk"
)

// OpenModel loads the transformer that path holds: a checkpoint, the newest
// checkpoint in the folder of a run, or a Hugging Face folder (see
// [OpenHuggingFace]). The parameters are stored as dt. Release of the model's
// Params frees it.
//
// The configuration is that of the run, or has the structure and the tokenizer of
// the Hugging Face model; Tokenizer is empty where that is not known.
func OpenModel(ctx context.Context, dev *vk.Device, path string, dt ops.DType) (*nn.Transformer, Config, error) {
	if IsHuggingFace(path) {
		return openHuggingFaceModel(ctx, dev, path, dt)
	}
	f, cfg, err := openCheckpoint(path)
	if err != nil {
		return nil, cfg, err
	}
	defer f.Close()
	m, err := newLoaded(dev, dt, cfg, func(p *ops.Params) error { return loadParams(ctx, f, p, itself) })
	return m, cfg, err
}

func openHuggingFaceModel(ctx context.Context, dev *vk.Device, path string, dt ops.DType) (*nn.Transformer, Config, error) {
	cfg := DefaultConfig()
	h, err := OpenHuggingFace(path)
	if err != nil {
		return nil, cfg, err
	}
	defer h.Close()
	h.configure(&cfg)
	m, err := newLoaded(dev, dt, cfg, func(p *ops.Params) error { return h.Load(ctx, p) })
	return m, cfg, err
}

// newLoaded makes a transformer and fills it.
func newLoaded(dev *vk.Device, dt ops.DType, cfg Config, load func(*ops.Params) error) (*nn.Transformer, error) {
	m, err := nn.ReserveTransformer(dev, dt, cfg.Transformer())
	if err != nil {
		return nil, err
	}
	if err := load(m.Params()); err != nil {
		m.Params().Release()
		return nil, err
	}
	return m, nil
}

// ConfigureFrom makes the configuration describe the model at path, which is one
// that [OpenModel] loads, for a run with Config.From: its structure, and its
// tokenizer where that is known. Sequences stay as long as they are, unless the
// model's are shorter, and the model stays made for its own; what concerns training
// alone stays too.
func (c *Config) ConfigureFrom(path string) error {
	before := *c
	if IsHuggingFace(path) {
		h, err := OpenHuggingFace(path)
		if err != nil {
			return err
		}
		h.configure(c)
		if err := h.Close(); err != nil {
			return err
		}
	} else {
		f, cfg, err := openCheckpoint(path)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		c.SetTransformer(cfg.Transformer())
	}
	var err error
	if c.Tokenizer, _, err = modelTokenizer(path); err != nil {
		return err
	}
	if c.ContextLen > before.ContextLen {
		c.ContextLen, c.MaxContext = before.ContextLen, c.ContextLen
	}
	c.Dropout, c.Recompute = before.Dropout, before.Recompute
	return nil
}

// configure makes the configuration describe this model, with the tokenizer of the
// folder, if there is one.
func (h *HuggingFace) configure(c *Config) {
	c.SetTransformer(h.Config)
	c.Tokenizer = tokenizerIn(h.dir)
}

// StartFrom gives the parameters the values of the model at path, one that
// [OpenModel] loads, of the same structure. The rest of the state stays that of a
// new run.
func (t *Trainer) StartFrom(ctx context.Context, path string) error {
	if err := t.open(); err != nil {
		return err
	}
	params := t.model.Params()
	targets := func(p *ops.Tensor) []*ops.Tensor {
		if master := t.opt.Master(p); master != nil {
			return []*ops.Tensor{p, master}
		}
		return []*ops.Tensor{p}
	}
	if IsHuggingFace(path) {
		h, err := OpenHuggingFace(path)
		if err != nil {
			return err
		}
		defer h.Close()
		t.origin = origin{string(h.object.text), h.dtype()}
		return h.load(ctx, params, targets)
	}
	f, _, err := openCheckpoint(path)
	if err != nil {
		return err
	}
	defer f.Close()
	t.origin = originOf(f.meta)
	return loadParams(ctx, f, params, targets)
}

// openCheckpoint opens a checkpoint of a transformer, or the newest in a folder,
// and compares the sizes of its configuration with its tensors, so that no model
// is made that the file does not have.
func openCheckpoint(path string) (*File, Config, error) {
	var cfg Config
	path, err := checkpointAt(path)
	if err != nil {
		return nil, cfg, err
	}
	f, err := openNewest(path)
	if err != nil {
		return nil, cfg, err
	}
	if _, _, cfg, err = checkpointMeta(f.Meta()); err == nil {
		if err = cfg.Validate(); err == nil {
			err = checkSizes(f, cfg)
		}
	}
	if err != nil {
		return nil, cfg, errors.Join(fmt.Errorf("train: checkpoint %s: %w", path, err), f.Close())
	}
	return f, cfg, nil
}

// checkpointAt returns the checkpoint that path is, or the newest in that folder.
// Where there is none it says what there is.
func checkpointAt(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("train: %w; a model of Hugging Face's has to be downloaded first, all of its folder", err)
	case err != nil:
		return "", fmt.Errorf("train: %w", err)
	case !info.IsDir() && IsHuggingFace(filepath.Dir(path)):
		return "", fmt.Errorf("train: %s is a part of a Hugging Face model: name its folder, %s", path, filepath.Dir(path))
	case !info.IsDir():
		return path, nil
	}
	newest, _, err := Latest(path, checkpointName)
	if err != nil || newest != "" {
		return newest, err
	}
	there := ""
	for _, known := range []struct{ pattern, text string }{
		{"adapter_config.json", "an adapter, which is merged into its model first (merge_and_unload in peft)"},
		{"model*.safetensors*", "a model without its config.json"},
		{"pytorch_model*.bin*", "a model without its config.json, and not as safetensors"},
		{"*.gguf", "a GGUF file, which is not read: take the model as safetensors"},
	} {
		if names, _ := filepath.Glob(filepath.Join(path, known.pattern)); len(names) > 0 {
			there = ", but " + known.text
			break
		}
	}
	return "", fmt.Errorf("train: %s holds neither a checkpoint nor a Hugging Face model%s: %w", path, there, fs.ErrNotExist)
}

// checkSizes compares the tensors from which the sizes of all others follow.
func checkSizes(f *File, cfg Config) error {
	c := cfg.Transformer()
	if cfg.Model != "transformer" {
		return fmt.Errorf("model is %q, want transformer", cfg.Model)
	}
	if c.Layers > len(f.names) {
		return fmt.Errorf("%d layers, but only %d tensors", c.Layers, len(f.names))
	}
	want := []Entry{
		{Name: "token_embeddings.weight", Shape: []int{c.Vocab, c.Width}},
		{Name: "layers.0.attn.q_proj.weight", Shape: []int{c.Width, c.Width}},
		{Name: "layers.0.ffn.w1.weight", Shape: []int{c.FFN, c.Width}},
	}
	if c.Positions == "learned" {
		want = append(want, Entry{Name: "position_embeddings.weight", Shape: []int{c.Context, c.Width}})
	}
	for _, e := range want {
		if _, shape, ok := f.Info(e.Name); !ok || !slices.Equal(shape, e.Shape) {
			return fmt.Errorf("tensor %q is %v, want %v", e.Name, shape, e.Shape)
		}
	}
	return nil
}

// itself is the target of a parameter where there is no other.
func itself(p *ops.Tensor) []*ops.Tensor { return []*ops.Tensor{p} }

// loadParams uploads a checkpoint's parameters, the master weights where there are
// any, to all that targets returns for each, rounded to their type. The shapes are
// compared first; of learned positions there may be fewer, and the first are taken.
func loadParams(ctx context.Context, f *File, params *ops.Params, targets func(*ops.Tensor) []*ops.Tensor) error {
	for _, p := range params.All() {
		dtype, shape, ok := f.Info(f.weights(p.Name()))
		if !ok || !fits(p.Shape(), shape, p.Name()) || dtype != "F32" && dtype != "F16" && dtype != "BF16" {
			return fmt.Errorf("train: %s: tensor %q is %s%v, want F32, F16 or BF16 of %v", f.path, p.Name(), dtype, shape, p.Shape())
		}
	}
	for _, p := range params.All() {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("train: %s: %w", f.path, err)
		}
		values, err := f.floats(f.weights(p.Name()))
		if err != nil {
			return err
		}
		values = values[:p.Len()]
		if err := checkStored(values, params.DType()); err != nil {
			return fmt.Errorf("train: %s: tensor %q: %w", f.path, p.Name(), err)
		}
		for _, to := range targets(p) {
			if err := ops.Upload(ctx, to, values); err != nil {
				return fmt.Errorf("train: %s: %q: %w", f.path, p.Name(), err)
			}
		}
	}
	return nil
}

// weights returns the name of the tensor of a checkpoint with a parameter's values:
// its master weights, or itself.
func (f *File) weights(param string) string {
	for _, rule := range optim.Rules() {
		name := optim.MasterSlot(rule) + "." + param
		if _, ok := f.tensors[name]; ok {
			return name
		}
	}
	return param
}

// floats returns the values of a tensor of type F32, F16 or BF16, all finite.
func (f *File) floats(name string) ([]float32, error) {
	values, err := f.anyFloats(name)
	if err != nil {
		return nil, err
	}
	if err := checkFinite(values, f.tensors[name].shape); err != nil {
		return nil, fmt.Errorf("train: %s: tensor %q: %w", f.path, name, err)
	}
	return values, nil
}

func (f *File) anyFloats(name string) ([]float32, error) {
	raw, err := f.bytes(name)
	if err != nil {
		return nil, err
	}
	dtype := f.tensors[name].dtype
	size := int(elementSize[dtype])
	values := make([]float32, len(raw)/size)
	for i := range values {
		values[i] = floatFrom(dtype, raw[i*size:])
	}
	return values, nil
}

// bytes returns the values of a tensor as the file has them.
func (f *File) bytes(name string) ([]byte, error) {
	r, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, r.Size())
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("train: %s: tensor %q: %w", f.path, name, unexpectedEnd(err))
	}
	return raw, nil
}

// ExportCheckpoint writes the transformer of a checkpoint, or of the newest in the
// folder of a run, as [ExportHuggingFace] does, and beside it the tokenizer.json
// that the run used, if any. It needs no device.
//
// Where training started from a Hugging Face folder, the new folder is like that
// one: the same config.json, the same types of values (of the master weights, where
// there are any), and the files of the tokenizer, which must still be there.
func ExportCheckpoint(path, dir string) error {
	if IsHuggingFace(path) {
		return fmt.Errorf("train: export %s: it is a Hugging Face folder already, want a checkpoint or the folder of a run", path)
	}
	f, cfg, err := openCheckpoint(path)
	if err != nil {
		return err
	}
	defer f.Close()
	from := originOf(f.meta)
	dtype, _, _ := f.Info("token_embeddings.weight")
	e := hfExport{dir: dir, structure: cfg.Transformer(), dtype: cmp.Or(from.dtype, dtype), origin: from.config}
	e.source = func(name string) (hfSource, bool) {
		if e.origin != "" {
			name = f.weights(name)
		}
		dtype, shape, ok := f.Info(name)
		return hfSource{dtype, shape, func() ([]byte, error) { return f.bytes(name) }}, ok
	}
	if err := e.write(); err != nil {
		return err
	}
	return exportTokenizer(dir, path, cfg)
}

// exportTokenizer writes the tokenizer that a run used, and copies what stood beside
// it and beside the model that it started from, as far as they are still there.
func exportTokenizer(dir, path string, cfg Config) error {
	name, _, err := modelTokenizer(path)
	if err != nil {
		return err
	}
	if name != "" {
		tok, err := OpenTokenizer(path)
		if err == nil {
			err = writeTokenizer(osFiles{}, dir, tok)
		}
		if err != nil {
			return fmt.Errorf("train: export to %s: the tokenizer is missing: %w", dir, err)
		}
	}
	switch {
	case cfg.Tokenizer != "" && !slices.Contains(tokenizer.Builtin, cfg.Tokenizer):
		err = copyBeside(dir, filepath.Dir(cfg.Tokenizer), tokenizerFiles)
	case cfg.Tokenizer != "bytes" && IsHuggingFace(cfg.From):
		err = copyBeside(dir, cfg.From, tokenizerFiles)
	}
	if err != nil || !IsHuggingFace(cfg.From) {
		return err
	}
	return copyBeside(dir, cfg.From, []string{generationName})
}
