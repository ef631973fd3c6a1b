package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// ImportTorch makes the state that of a checkpoint that PyTorch wrote, see
// [OpenTorch]: parameters, AdamW's moments and step counts, and the iteration.
// Tensors are matched by name and shape; a missing, extra or differently shaped
// one is an error, and nothing is changed. Hyper-parameters stay those of the
// configuration; a run of torch.optim.AdamW goes on as it was with
// Config.AdamW "torch".
func (t *Trainer) ImportTorch(ctx context.Context, path string) error {
	c, err := OpenTorch(path)
	if err != nil {
		return err
	}
	defer c.Close()
	params := t.model.Params()
	if err := matchTorch(c, params); err != nil {
		return fmt.Errorf("train: import %s: %w", path, err)
	}
	states, err := c.StateByName(nil)
	if err != nil {
		return err
	}
	type upload struct {
		to   *ops.Tensor
		from *TorchTensor
	}
	var uploads []upload
	st := optim.State{Steps: map[string]int64{}, Scale: 1}
	if s := t.cfg.scaler(); s != nil {
		if now, err := t.opt.State(ctx); err != nil {
			return err
		} else {
			st.Scale = now.Scale
		}
	}
	for _, p := range params.All() {
		m, v, master := t.opt.Moments(p)
		uploads = append(uploads, upload{p, c.Model[p.Name()]})
		if master != nil {
			uploads = append(uploads, upload{master, c.Model[p.Name()]})
		}
		if s, ok := states[p.Name()]; ok {
			if !slices.Equal(s.ExpAvg.Shape, p.Shape()) {
				return fmt.Errorf("train: import %s: moments of %q are %v, want %v", path, p.Name(), s.ExpAvg.Shape, p.Shape())
			}
			uploads = append(uploads, upload{m, s.ExpAvg}, upload{v, s.ExpAvgSq})
			st.Steps[p.Name()] = s.Step
		}
	}
	values := make([][]float32, len(uploads))
	for i, u := range uploads {
		if values[i], err = u.from.Floats(); err != nil {
			return fmt.Errorf("train: import %s: %q: %w", path, u.to.Name(), err)
		}
	}
	for i, u := range uploads {
		if err := ops.Upload(ctx, u.to, values[i]); err != nil {
			return err
		}
	}
	t.iter = c.Iteration
	return t.opt.SetState(ctx, st)
}

// matchTorch compares names and shapes with the model's.
func matchTorch(c *TorchCheckpoint, params *ops.Params) error {
	for _, p := range params.All() {
		switch in := c.Model[p.Name()]; {
		case in == nil:
			return fmt.Errorf("tensor %q is missing", p.Name())
		case !slices.Equal(in.Shape, p.Shape()):
			return fmt.Errorf("tensor %q is %v, want %v", p.Name(), in.Shape, p.Shape())
		}
	}
	for _, name := range c.Names {
		if params.ByName(name) == nil {
			return fmt.Errorf("tensor %q is not one of this model", name)
		}
	}
	return nil
}
