package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
)

// NonFiniteError reports a training state from which no run can go on.
type NonFiniteError struct {
	Step  int64   // steps done
	What  string  // what was looked at: "training loss", "gradient norm", or Tensor
	Value float64 // of it
	// Tensor is the first tensor of the state that is not finite, such as
	// `parameter "head.weight"` or `second moment of "head.weight"`, and At the
	// position of its first such value; "" when the state itself is finite.
	Tensor string
	At     []int
}

// Error implements error.
func (e *NonFiniteError) Error() string {
	switch {
	case e.Tensor == "":
		return fmt.Sprintf("train: step %d: %s is %v; parameters and moments are finite", e.Step, e.What, e.Value)
	case e.Tensor == e.What:
		return fmt.Sprintf("train: step %d: %s is %v at %v", e.Step, e.Tensor, e.Value, e.At)
	}
	return fmt.Sprintf("train: step %d: %s is %v; the first tensor that is not finite is %s, at %v", e.Step, e.What, e.Value, e.Tensor, e.At)
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// CheckFinite waits for the last step and returns a [*NonFiniteError] when its
// loss, its gradient's norm, a parameter or a moment is not finite. A norm that
// makes the loss scaler skip a step and lower the scale is no error. It needs a
// step; it moves a few values off the device, more only when something is wrong.
func (t *Trainer) CheckFinite(ctx context.Context) error {
	loss, norm, _, err := t.Report(ctx)
	if err != nil {
		return err
	}
	st, err := t.opt.State(ctx)
	if err != nil {
		return err
	}
	switch scaling := t.scaling(st); {
	case !isFinite(loss):
		return t.nonFinite(ctx, "training loss", loss)
	case !isFinite(norm) && !scaling:
		return t.nonFinite(ctx, "gradient norm", norm)
	}
	if err := t.health.step.Run(); err != nil {
		return err
	}
	for _, n := range t.norms {
		var v [8]float32
		if err := ops.Download(ctx, n, v[:]); err != nil {
			return err
		}
		if !isFinite(float64(v[0])) {
			return t.nonFinite(ctx, "", 0)
		}
	}
	return nil
}

// DetectAnomaly makes each Step run one operation after the other, with a look at
// each result, and fail with an [*ops.AnomalyError] that names the first one that
// is not finite. It has the same bits and takes many times as long: turn it on
// where CheckFinite has found something, from the checkpoint before it on.
func (t *Trainer) DetectAnomaly(on bool) { t.detect = on }

// run submits one of the recordings of a step.
func (t *Trainer) run(r *recording) error {
	if !t.detect {
		return r.step.Run()
	}
	err := r.step.RunChecked(context.Background())
	var found *ops.AnomalyError
	if errors.As(err, &found) {
		t.found = cmp.Or(t.found, found)
		return nil
	}
	return err
}

// anomaly returns what run has found in the step that is done. Gradients that
// only a loss scale makes overflow are the scaler's, which lowers it.
func (t *Trainer) anomaly() error {
	if t.found == nil {
		return nil
	}
	found, ctx := t.found, context.Background()
	t.found = nil
	loss, err := ops.Item(ctx, t.loss)
	if err != nil {
		return err
	}
	st, err := t.opt.State(ctx)
	if err != nil {
		return err
	}
	if t.scaling(st) && isFinite(float64(loss)) {
		return nil
	}
	return fmt.Errorf("train: step %d: %w", t.iter, found)
}

// scaling reports whether a loss scale may be what made a gradient overflow.
func (t *Trainer) scaling(st optim.State) bool { return t.cfg.scaler() != nil && st.Scale > 1 }

// nonFinite looks for the first tensor of the state that is not finite and
// returns the error; what is "" when the state is what was looked at. Then
// nothing is an answer too: finite values may have an infinite norm.
func (t *Trainer) nonFinite(ctx context.Context, what string, value float64) error {
	bad := &NonFiniteError{Step: t.iter, What: what, Value: value}
	for _, x := range t.tensors() {
		raw, err := transfer.Download(ctx, x.Tensor)
		if err != nil {
			return err
		}
		if err := t.scan(x, raw); err != nil {
			bad.Tensor, bad.At = err.Tensor, err.At
			if what == "" {
				return err
			}
			break
		}
	}
	if what == "" {
		return nil
	}
	return bad
}

// scan returns an error when a value of a tensor of the state is not finite.
func (t *Trainer) scan(x stateTensor, raw []byte) *NonFiniteError {
	kind := transfer.DType(x.DType())
	i := dtype.FirstNonFinite(kind, raw)
	if i < 0 {
		return nil
	}
	what := fmt.Sprintf("%s%q", x.role, x.Name())
	return &NonFiniteError{Step: t.iter, What: what, Value: float64(dtype.Float32(kind, raw[int64(i)*dtype.Size[kind]:])), Tensor: what, At: dtype.IndexOf(i, x.Shape())}
}
