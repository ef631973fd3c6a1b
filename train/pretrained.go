package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/hf"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/vk"
)

// OpenModel loads the transformer that path holds: a checkpoint, the newest
// checkpoint in the folder of a run, or a Hugging Face folder (see
// [hf.Open]). The parameters are stored as dt. Release of the model's
// Params frees it.
//
// The configuration is that of the run, or has the structure and the tokenizer of
// the Hugging Face model; Tokenizer is empty where that is not known.
func OpenModel(ctx context.Context, dev *vk.Device, path string, dt ops.DType) (*nn.Transformer, Config, error) {
	if isHuggingFace(path) {
		return openHuggingFaceModel(ctx, dev, path, dt)
	}
	f, cfg, err := openCheckpoint(path)
	if err != nil {
		return nil, cfg, err
	}
	defer f.Close()
	m, err := newLoaded(dev, dt, cfg, func(p *ops.Params) error { return loadParams(ctx, f, p, nil) })
	return m, cfg, err
}

func openHuggingFaceModel(ctx context.Context, dev *vk.Device, path string, dt ops.DType) (*nn.Transformer, Config, error) {
	cfg := DefaultConfig()
	h, err := hf.Open(path)
	if err != nil {
		return nil, cfg, err
	}
	defer h.Close()
	cfg.describeFolder(path, h)
	m, err := newLoaded(dev, dt, cfg, func(p *ops.Params) error { return h.Load(ctx, p, nil) })
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
	if isHuggingFace(path) {
		h, err := hf.Open(path)
		if err != nil {
			return err
		}
		c.describeFolder(path, h)
		if err := h.Close(); err != nil {
			return err
		}
	} else {
		f, cfg, err := openCheckpoint(path)
		if err != nil {
			return err
		}
		defer f.Close()
		c.SetTransformer(cfg.Transformer())
		if c.Tokenizer, _, err = checkpointTokenizer(f, cfg); err != nil {
			return err
		}
	}
	if c.ContextLen > before.ContextLen {
		c.ContextLen, c.Context = before.ContextLen, c.ContextLen
	}
	c.Dropout, c.Recompute = before.Dropout, before.Recompute
	return nil
}

// describeFolder makes the configuration describe the model of a Hugging Face folder,
// with its tokenizer, if there is one.
func (c *Config) describeFolder(dir string, h *hf.Folder) {
	c.SetTransformer(h.Config)
	c.Tokenizer = tokenizerIn(dir)
}

// isHuggingFace reports whether path is a Hugging Face folder, not that of a run.
func isHuggingFace(path string) bool {
	newest, _, err := Latest(path)
	return err == nil && newest == "" && hf.Is(path)
}

// StartFrom gives the parameters the values of the model at path, one that
// [OpenModel] loads, of the same structure. The rest of the state stays that of a
// new run, but for a file of torch.save (.pt, .pth or .bin), see [Trainer.ImportTorch].
func (t *Trainer) StartFrom(ctx context.Context, path string) error {
	if err := t.open(); err != nil {
		return err
	}
	from, err := identifyModel(path)
	if err != nil {
		return err
	}
	t.from = from
	if isTorch(path) {
		return t.startFromTorch(ctx, path)
	}
	params := t.model.Params()
	if isHuggingFace(path) {
		h, err := hf.Open(path)
		if err != nil {
			return err
		}
		defer h.Close()
		t.origin = h.Origin()
		return h.Load(ctx, params, t.opt.Master)
	}
	f, _, err := openCheckpoint(path)
	if err != nil {
		return err
	}
	defer f.Close()
	t.origin = originOf(f.Meta())
	return loadParams(ctx, f, params, t.opt.Master)
}

// openCheckpoint opens a checkpoint of a transformer, or the newest in a folder,
// and compares the sizes of its configuration with its tensors, so that no model
// is made that the file does not have.
func openCheckpoint(path string) (*safetensors.File, Config, error) {
	f, cfg, err := openRun(path)
	if err != nil {
		return nil, cfg, err
	}
	if err = cfg.checkTransformer(); err == nil {
		err = fault.Unsupported(cfg.Validate())
	}
	if err == nil {
		err = checkSizes(f, cfg)
	}
	if err != nil {
		return nil, cfg, errors.Join(fmt.Errorf("train: checkpoint %s: %w", f.Path(), fault.Damaged(err)), f.Close())
	}
	return f, cfg, nil
}

// checkTransformer reports a checkpoint of another model, and what to do with that.
func (c Config) checkTransformer() error {
	switch {
	case c.Model == "transformer":
		return nil
	case c.known():
		return fault.Unsupportedf("model is %q, want transformer: Load reads the parameters of this one", c.Model)
	}
	return fault.Unsupportedf("model is %q, a custom one, and its code is in the program that trained it: "+
		"there OpenCustom loads it, and Generate continues texts where it has a method Logits; others can read its tensors, the file is safetensors", c.Model)
}

// openRun opens a checkpoint of a run, or the newest in a folder, and reads its
// configuration.
func openRun(path string) (f *safetensors.File, cfg Config, err error) {
	if path, err = checkpointAt(path); err != nil {
		return nil, cfg, err
	}
	meta, err := safetensors.ReadMeta(path)
	if err == nil && meta[formatKey] != checkpointFormat && meta["config"] == "" {
		return nil, cfg, fault.Unsupportedf("train: %s is no checkpoint of a training run; a model of Hugging Face's is named by its folder, with its config.json in it", path)
	}
	if f, err = openNewest(path); err != nil {
		return nil, cfg, err
	}
	if _, _, cfg, err = checkpointMeta(f.Meta()); err != nil {
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
	case !info.IsDir():
		return path, checkWhole(path)
	}
	newest, _, err := Latest(path)
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

// checkWhole reports a file that is one of those of a Hugging Face model.
func checkWhole(path string) error {
	if !isHuggingFace(filepath.Dir(path)) {
		return nil
	}
	return fault.Unsupportedf("train: %s is a part of a Hugging Face model: name its folder, %s", path, filepath.Dir(path))
}

// checkSizes compares the tensors from which the sizes of all others follow.
func checkSizes(f *safetensors.File, cfg Config) error {
	c := cfg.Transformer().Resolved()
	if c.Layers > len(f.Names()) {
		return fault.Mismatchedf("%d layers, but only %d tensors", c.Layers, len(f.Names()))
	}
	want := []safetensors.Entry{
		{Name: "token_embeddings.weight", Shape: []int{c.Vocab, c.Width}},
		{Name: "layers.0.attn.q_proj.weight", Shape: []int{c.Heads * c.HeadSize, c.Width}},
		{Name: "layers.0.ffn.w1.weight", Shape: []int{c.FFN, c.Width}},
	}
	if c.Positions == "learned" {
		want = append(want, safetensors.Entry{Name: "position_embeddings.weight", Shape: []int{c.Context, c.Width}})
	}
	for _, e := range want {
		if _, shape, ok := f.Info(e.Name); !ok || !slices.Equal(shape, e.Shape) {
			return fault.Mismatchedf("tensor %q is %v, want %v", e.Name, shape, e.Shape)
		}
	}
	return nil
}

// loadParams uploads a checkpoint's parameters, the master weights where there are
// any, to the parameters and to what master returns for each, rounded to their type.
// The shapes are compared first; of learned positions there may be fewer, and the
// first are taken.
func loadParams(ctx context.Context, f *safetensors.File, params *ops.Params, master func(*ops.Tensor) *ops.Tensor) error {
	for _, p := range params.All() {
		kind, shape, ok := f.Info(weights(f, p.Name()))
		if !ok || !transfer.Fits(p.Shape(), shape, p.Name()) || !dtype.Floating(kind) {
			return fault.Mismatchedf("train: %s: tensor %q is %s%v, want F32, F16 or BF16 of %v", f.Path(), p.Name(), kind, shape, p.Shape())
		}
	}
	for _, p := range params.All() {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("train: %s: %w", f.Path(), err)
		}
		values, err := f.Floats(weights(f, p.Name()))
		if err != nil {
			return err
		}
		values = values[:p.Len()]
		if err := transfer.CheckStored(values, params.DType()); err != nil {
			return fmt.Errorf("train: %s: tensor %q: %w", f.Path(), p.Name(), err)
		}
		if err := transfer.Upload(ctx, p, master, values); err != nil {
			return fmt.Errorf("train: %s: %q: %w", f.Path(), p.Name(), err)
		}
	}
	return nil
}

// weights returns the name of the tensor of a checkpoint with a parameter's values:
// its master weights, or itself.
func weights(f *safetensors.File, param string) string {
	for _, rule := range optim.Rules() {
		name := optim.MasterSlot(rule) + "." + param
		if _, _, ok := f.Info(name); ok {
			return name
		}
	}
	return param
}
