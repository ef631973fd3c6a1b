package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/names"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
	"github.com/lemnos-ml/lemnos/train/torch"
)

// isTorch reports whether a path is named as files of torch.save are.
func isTorch(path string) bool {
	return slices.Contains([]string{".pt", ".pth", ".bin"}, strings.ToLower(filepath.Ext(path)))
}

// checkTorch reports a path that is no file, or is one that transformers has saved.
func checkTorch(path string) error {
	if err := input.Regular(path); err != nil {
		return fmt.Errorf("train: from: %w", err)
	}
	if strings.HasPrefix(filepath.Base(path), "pytorch_model") {
		return checkWhole(path)
	}
	return nil
}

// tunes reports whether a run that starts from a model is one of fine-tuning, by its
// name: a file of torch.save may be the checkpoint of a run that is to go on.
func tunes(from string) bool { return from != "" && !isTorch(from) }

// startFromTorch is ImportTorch for a run that is to go on from there.
func (t *Trainer) startFromTorch(ctx context.Context, path string) error {
	if err := t.ImportTorch(ctx, path); err != nil {
		return err
	}
	if t.iter >= t.cfg.TotalSteps {
		return fmt.Errorf("train: %s is of step %d and total_steps is %d: there is nothing to train, set more", path, t.iter, t.cfg.TotalSteps)
	}
	return nil
}

// ImportTorch makes the state that of a checkpoint that PyTorch wrote, see
// [torch.Open]: parameters and, where the file has an optimizer, AdamW's moments and
// step counts, and the iteration.
// Tensors are matched by name and shape, names without what wrappers such as
// torch.compile put before them; a missing, extra or differently shaped one, and a
// value that is not finite, is an error, and nothing is changed. Hyper-parameters stay those of the
// configuration; a run of torch.optim.AdamW goes on as it was with
// Config.AdamW "torch".
func (t *Trainer) ImportTorch(ctx context.Context, path string) error {
	if err := t.open(); err != nil {
		return err
	}
	c, err := torch.Open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	if t.cfg.Optimizer != "adamw" && len(c.State) > 0 {
		return fault.Mismatchedf("train: import %s: optimizer is %q, and the file has the state of adamw", path, t.cfg.Optimizer)
	}
	theirs, err := matchTorch(c, t.model.Params())
	if err != nil {
		return fault.Mismatchedf("train: import %s: %w; the structure is the configuration's, which a preset, a file or flags say", path, err)
	}
	uploads, steps, err := t.torchUploads(c, theirs)
	if err != nil {
		return fmt.Errorf("train: import %s: %w", path, err)
	}
	st := optim.State{Steps: steps, Scale: 1}
	if t.cfg.scaler() != nil {
		now, err := t.opt.State(ctx)
		if err != nil {
			return err
		}
		st.Scale = now.Scale
	}
	values := make([][]float32, len(uploads))
	for i, u := range uploads {
		if values[i], err = u.from.Floats(); err == nil {
			err = errors.Join(fault.Damaged(dtype.CheckFinite(values[i], u.from.Shape)), transfer.CheckStored(values[i], u.to.DType()))
		}
		if err != nil {
			return fmt.Errorf("train: import %s: %q: %w", path, u.to.Name(), err)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("train: import %s: %w", path, err)
	}
	ctx = context.WithoutCancel(ctx) // all of it or nothing
	for i, u := range uploads {
		if err := ops.Upload(ctx, u.to, values[i]); err != nil {
			return err
		}
	}
	t.iter = c.Iteration
	return t.opt.SetState(ctx, st)
}

// torchUpload is a tensor of the file on its way to the device.
type torchUpload struct {
	to   *ops.Tensor
	from *torch.Tensor
}

// torchUploads lists where the tensors of c go, of which theirs has the names by
// parameter, and returns the steps that each parameter has taken.
func (t *Trainer) torchUploads(c *torch.Checkpoint, theirs map[string]string) (list []torchUpload, steps map[string]int64, err error) {
	states, err := c.StateByName(nil)
	if err != nil {
		return nil, nil, err
	}
	steps = map[string]int64{}
	for _, p := range t.model.Params().All() {
		name := theirs[p.Name()]
		list = append(list, torchUpload{p, c.Model[name]})
		if master := t.opt.Master(p); master != nil {
			list = append(list, torchUpload{master, c.Model[name]})
		}
		s, ok := states[name]
		if !ok {
			continue
		}
		if !slices.Equal(s.ExpAvg.Shape, p.Shape()) {
			return nil, nil, fault.Mismatchedf("moments of %q are %v, want %v", p.Name(), s.ExpAvg.Shape, p.Shape())
		}
		for _, slot := range t.opt.Slots(p) {
			switch slot.Name {
			case "adamw.m":
				list = append(list, torchUpload{slot.Tensor, s.ExpAvg})
			case "adamw.v":
				list = append(list, torchUpload{slot.Tensor, s.ExpAvgSq})
			}
		}
		steps[p.Name()] = s.Step
	}
	return list, steps, nil
}

// matchTorch compares names and shapes with the model's, and returns the name in the
// file of each parameter: its own, or one that says that the model was wrapped.
func matchTorch(c *torch.Checkpoint, params *ops.Params) (theirs map[string]string, err error) {
	theirs = map[string]string{}
	var extra error
	find := func(name string) (string, bool) { return name, params.ByName(name) != nil }
	for _, name := range c.Names {
		ours, ok := names.Unwrap(name, find)
		other, twice := theirs[ours]
		switch {
		case !ok && !names.Ignored(name, c.Model[name].Shape) && !tied(c, name, params):
			extra = cmp.Or(extra, fmt.Errorf("tensor %q is not one of this model", name))
		case !ok:
		case twice:
			return nil, fmt.Errorf("tensors %q and %q are both %q of this model", other, name, ours)
		default:
			theirs[ours] = name
		}
	}
	for _, p := range params.All() {
		name, ok := theirs[p.Name()]
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing", p.Name())
		}
		if shape := c.Model[name].Shape; !slices.Equal(shape, p.Shape()) {
			return nil, fmt.Errorf("tensor %q is %v, want %v", name, shape, p.Shape())
		}
	}
	return theirs, extra
}

// tied reports whether a tensor of the file is one of the model's under another name,
// as the output head is where it is the token embedding.
func tied(c *torch.Checkpoint, name string, params *ops.Params) bool {
	return slices.ContainsFunc(c.Names, func(other string) bool {
		_, ok := names.Unwrap(other, func(name string) (string, bool) { return name, params.ByName(name) != nil })
		return ok && c.Model[name].Same(c.Model[other])
	})
}
