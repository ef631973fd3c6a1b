package train

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/tensorboard"
)

// parameterHistograms returns those of all parameters, by their names in a checkpoint.
func (t *Trainer) parameterHistograms(ctx context.Context) ([]tensorboard.Value, error) {
	var h histograms
	for _, set := range t.sets {
		for _, p := range set.All() {
			if err := h.add(ctx, "parameters/"+p.Name(), p, 1); err != nil {
				return nil, err
			}
		}
	}
	return h.values, nil
}

// lossScale returns what the next step multiplies its loss by.
func (t *Trainer) lossScale(ctx context.Context) (float32, error) {
	if t.cfg.scaler() == nil {
		return 1, nil
	}
	st, err := t.opt.State(ctx)
	return st.Scale, err
}

// gradientHistograms returns those of the gradients of a step's mean loss, before
// clipping. It is for [Trainer.inspect]: an update that is apart makes them zeros.
func (t *Trainer) gradientHistograms(ctx context.Context, scale float32) ([]tensorboard.Value, error) {
	factor := 1 / scale
	if counted := t.opt.Counted(); counted != nil { // they are divided by how many targets there might have been
		n, err := ops.Item(ctx, counted)
		if err != nil || n == 0 {
			return nil, err
		}
		factor *= float32(t.cfg.GradAccum*t.in.y.Len()) / n
	}
	var h histograms
	for _, set := range t.sets {
		for _, p := range set.All() {
			grad := t.update.Gradient(p)
			if grad == nil { // it is frozen, or the loss does not depend on it
				continue
			}
			if err := h.add(ctx, "gradients/"+p.Name(), grad, factor); err != nil {
				return nil, err
			}
		}
	}
	return h.values, nil
}

// histograms collects those of tensors, which it reads one after the other.
type histograms struct {
	values []tensorboard.Value
	buffer []float32
}

// add reads a tensor, and multiplies by factor. Values that are not finite are no part
// of the histogram: how many there are is a scalar, where there are some.
func (h *histograms) add(ctx context.Context, tag string, x *ops.Tensor, factor float32) error {
	if n := x.Len(); cap(h.buffer) < n {
		h.buffer = make([]float32, n)
	}
	v := h.buffer[:x.Len()]
	if err := ops.Download(ctx, x, v); err != nil {
		return fmt.Errorf("train: histogram of %s: %w", tag, err)
	}
	if factor != 1 {
		for i := range v {
			v[i] *= factor
		}
	}
	var counts tensorboard.Histogram
	counts.Add(v)
	if counts.Count > 0 {
		h.values = append(h.values, counts.Value(tag))
	}
	if counts.NonFinite > 0 {
		h.values = append(h.values, tensorboard.Scalar("not_finite/"+tag, float64(counts.NonFinite)))
	}
	return nil
}

// inspectNext makes the next step leave the histograms of its gradients, where it is one to
// evaluate after.
func (r *runner) inspectNext(ctx context.Context, evaluate bool) error {
	t := r.trainer
	t.inspect, r.gradients = nil, nil
	if r.events == nil || !evaluate {
		return nil
	}
	scale, err := t.lossScale(ctx)
	t.inspect = func() (err error) {
		r.gradients, err = t.gradientHistograms(ctx, scale)
		return err
	}
	return err
}

// logHistograms writes those of the parameters and of what inspectNext left.
func (r *runner) logHistograms(ctx context.Context) error {
	if r.events == nil {
		return nil
	}
	values, err := r.trainer.parameterHistograms(ctx)
	if err == nil {
		r.warn("events not written", r.events.add(r.trainer.Iteration(), append(values, r.gradients...)...))
	}
	return err
}
