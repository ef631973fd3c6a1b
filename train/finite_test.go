package train_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// scaledLoss is a bigram model whose loss is multiplied by a factor.
type scaledLoss struct {
	*nn.Bigram
	factor float32
}

func (s scaledLoss) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	return g.Scale(s.Bigram.Loss(g, x, y), s.factor)
}

// newScaled returns a trainer of such a model, and its parameter.
func newScaled(t *testing.T, c train.Config, factor float32) (*train.Trainer, *ops.Tensor) {
	t.Helper()
	dev := vktest.Open(t)
	data, err := train.OpenData(context.Background(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { data.Close() })
	model, err := nn.NewBigram(dev, c.Storage(), c.Vocab)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Params().Release)
	tr, err := train.NewTrainer(dev, c, scaledLoss{model, factor}, data.Train)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr, model.Params().All()[0]
}

// A learning rate that makes parameters overflow ends the run, and the last
// finite checkpoint stays though only one is kept.
func TestRunEndsAtNonFiniteParameters(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.CkptEvery, c.Keep, c.TotalSteps = 5, 1, 20
	if _, err := runOnce(ctx, dev, c); err != nil {
		t.Fatal(err)
	}
	bad := c
	bad.LRMax, bad.LRMin, bad.GradClipNorm, bad.TotalSteps, bad.LogEvery = 1e20, 1e20, 1e30, 100, 50
	last, err := runOnce(ctx, dev, bad)
	var nonFinite *train.NonFiniteError
	if !errors.As(err, &nonFinite) || errors.Is(err, train.ErrInterrupted) {
		t.Fatalf("error is %v at step %d, want a NonFiniteError", err, last.Step)
	}
	if nonFinite.Step != 25 || !strings.Contains(nonFinite.Tensor, `of "`) && !strings.Contains(nonFinite.Tensor, `parameter "`) || len(nonFinite.At) != 2 {
		t.Errorf("%+v: want step 25, the first save, and a tensor", nonFinite)
	}
	for _, want := range []string{"step 25: " + nonFinite.Tensor + " is ", "the checkpoint of step 20 is finite"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
	if path, step, err := train.Latest(c.Dir()); step != 20 {
		t.Fatalf("the newest checkpoint is %q, %v, want that of step 20", path, err)
	}
	c.TotalSteps = 25
	if last, err := runOnce(ctx, dev, c); err != nil || last.Step != 25 {
		t.Errorf("a sane learning rate ended at step %d: %v", last.Step, err)
	}
}

// What is not finite is found wherever it is, and never saved.
func TestCheckFiniteNamesTheTensor(t *testing.T) {
	for _, half := range []string{"", "bf16", "f16"} {
		c := smallRun(t, t.TempDir())
		c.MixedPrecision, c.HalfType = half != "", "bf16"
		if half != "" {
			c.HalfType = half
		}
		tr, table := newScaled(t, c, 1)
		if err := tr.Step(); err != nil {
			t.Fatal(err)
		}
		if err := tr.CheckFinite(ctx); err != nil {
			t.Fatalf("a sane step: %v", err)
		}
		state := map[string]*ops.Tensor{"parameter": table}
		for _, s := range tr.Optimizer().Slots(table) {
			state[s.Title+" of"] = s.Tensor
		}
		if want := 3; len(state) != want && half == "" || len(state) != want+1 && half != "" {
			t.Errorf("%d tensors of state", len(state))
		}
		for role, x := range state {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				values := make([]float32, x.Len())
				if err := ops.Download(ctx, x, values); err != nil {
					t.Fatal(err)
				}
				was := values[5*c.Vocab+7]
				values[5*c.Vocab+7] = float32(bad)
				if err := ops.Upload(ctx, x, values); err != nil {
					t.Fatal(err)
				}
				for _, err := range []error{tr.CheckFinite(ctx), errorOf(tr.Snapshot(ctx))} {
					var n *train.NonFiniteError
					if !errors.As(err, &n) || n.Step != 1 || n.Tensor != role+` "`+table.Name()+`"` || len(n.At) != 2 || n.At[0] != 5 || n.At[1] != 7 ||
						n.Value != bad && !math.IsNaN(bad) {
						t.Errorf("%s%s, %v at [5 7]: error is %v", half, role, bad, err)
					}
				}
				values[5*c.Vocab+7] = was
				if err := ops.Upload(ctx, x, values); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := tr.CheckFinite(ctx); err != nil {
			t.Errorf("put right: %v", err)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// A gradient whose square would overflow the second moment, with a norm and a
// loss that are finite, is skipped and counted: the state stays finite.
func TestOverflowingSquareIsSkipped(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.MixedPrecision, c.GradClipNorm = false, 1e30
	tr, _ := newScaled(t, c, 1e24)
	for range 2 {
		if err := tr.Step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.CheckFinite(ctx); err != nil {
		t.Error(err)
	}
	if skipped, err := tr.Skipped(ctx); err != nil || skipped != 2 {
		t.Errorf("%d skipped steps, %v; want 2", skipped, err)
	}
}

// A loss that is not finite is reported, and that the state is finite: the
// device skipped the step.
func TestNonFiniteLossIsReported(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.MixedPrecision = false
	tr, _ := newScaled(t, c, 3e38)
	if err := tr.Step(); err != nil {
		t.Fatal(err)
	}
	var n *train.NonFiniteError
	if err := tr.CheckFinite(ctx); !errors.As(err, &n) || n.What != "training loss" || !math.IsInf(n.Value, 1) || n.Tensor != "" {
		t.Errorf("error is %v, want a training loss of +Inf, and a finite state", err)
	}
}

// The loss scaler's skipped steps are in the log and the metrics, and no error.
func TestSkippedStepsAreCounted(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.HalfType = "f16"
	tr, _ := newScaled(t, c, 1e4) // times the first scale, 65536: beyond f16
	var skipped int64
	for range 20 {
		if err := tr.Step(); err != nil {
			t.Fatal(err)
		}
		if err := tr.CheckFinite(ctx); err != nil {
			t.Fatal(err)
		}
		var err error
		if skipped, err = tr.Skipped(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if skipped < 3 || skipped > 17 {
		t.Errorf("%d of 20 steps were skipped, want some and not most", skipped)
	}
}

// Restore refuses metadata that it does not know or that lacks something, names
// the field, and changes nothing.
func TestRestoreChecksMetadata(t *testing.T) {
	c := smallRun(t, t.TempDir())
	tr, table := newScaled(t, c, 1)
	for range 3 {
		if err := tr.Step(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := tr.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	good, err := s.Save(c.Dir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.OpenVerified(good)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []safetensors.Entry
	for _, name := range f.Names() {
		dtype, shape, _ := f.Info(name)
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, safetensors.Entry{Name: name, DType: dtype, Shape: shape, Write: func(w io.Writer) error { _, err := w.Write(raw); return err }})
	}
	optimizer := f.Meta()["optimizer"]
	with := func(old, new string) string {
		t.Helper()
		changed := strings.Replace(optimizer, old, new, 1)
		if changed == optimizer {
			t.Fatalf("%s has no %s", optimizer, old)
		}
		return changed
	}
	name := table.Name()
	for _, m := range []struct{ key, value, want string }{
		{"format", "x", `format is "x"`},
		{"format", "lemnos-2", `format is "lemnos-2"`},
		{"format", "", "format is missing"},
		{"iteration", "-1", `iteration is "-1"`},
		{"iteration", "3.0", `iteration is "3.0"`},
		{"iteration", "+3", `iteration is "+3"`},
		{"iteration", "", "iteration is missing"},
		{"optimizer", "{}", "optimizer: field Steps is missing"},
		{"optimizer", "", "optimizer is missing"},
		{"optimizer", "null", "optimizer: field Steps is missing"},
		{"optimizer", "[]", "optimizer: line 1, column 1: it is a list, want an object"},
		{"optimizer", optimizer + "{}", "optimizer: has something"},
		{"optimizer", with(`"Scale":1`, `"Scale":0`), "optimizer: field Scale"},
		{"optimizer", with(`"Scale":1`, `"Scale":"1"`), "Scale is a string, want a number"},
		{"optimizer", with(`"Scale"`, `"Scope"`), "Scope"},
		{"optimizer", with(`"Good"`, `"good2"`), "good2"},
		{"optimizer", with(`"Skips":0`, `"Skips":null`), "optimizer: field Skips is missing"},
		{"optimizer", with(`"`+name+`":3`, `"`+name+`":-3`), name},
		{"optimizer", with(`"`+name+`":3`, `"`+name+`":3.5`), "is 3.5, want an integer of 64 bits"},
		{"optimizer", with(`"`+name+`"`, `"other"`), "other"},
		{"config", "", "config is missing"},
		{"config", "null", "seed"},
		{"config", `{"vocab":"1"}`, "config: line 1, column 12: vocab is a string, want an integer of 64 bits"},
		{"config", `{"seed":"1"}`, "config: line 1, column 11: seed is a string, want an integer of 64 bits that is not negative"},
		{"config", `{"betas":3}`, "betas is 3, want two numbers"},
		{"data", `{"files":3}`, "data: line 1, column 10: files is a number, want a list"},
		{"config", strings.Replace(f.Meta()["config"], `"seed":1`, `"seed":2`, 1), "seed is 2, want 1"},
	} {
		meta := maps.Clone(f.Meta())
		meta[m.key] = m.value
		if m.value == "" {
			delete(meta, m.key)
		}
		path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
		if err := safetensors.Save(path, meta, entries); err != nil {
			t.Fatal(err)
		}
		if err := tr.Restore(ctx, path); err == nil || !strings.Contains(err.Error(), m.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s %q: error is %v, want one that says %q", m.key, m.value, err, m.want)
		}
		if tr.Iteration() != 3 {
			t.Fatalf("%s %q: the iteration is %d now", m.key, m.value, tr.Iteration())
		}
	}
	for i, e := range entries {
		poisoned := append([]safetensors.Entry(nil), entries...)
		poisoned[i].Write = func(w io.Writer) error {
			var raw strings.Builder
			e.Write(&raw)
			b := []byte(raw.String())
			copy(b[len(b)-4:], "\xc0\x7f\xc0\x7f") // NaN, whatever the type
			_, err := w.Write(b)
			return err
		}
		path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
		if err := safetensors.Save(path, f.Meta(), poisoned); err != nil {
			t.Fatal(err)
		}
		if err := tr.Restore(ctx, path); err == nil || !strings.Contains(err.Error(), e.Name) || !strings.Contains(err.Error(), "not finite") {
			t.Errorf("NaN in %s: error is %v", e.Name, err)
		}
	}
	if err := tr.Restore(ctx, good); err != nil {
		t.Error(err)
	}
}

// A checkpoint under the name of another step is refused.
func TestRunRefusesARenamedCheckpoint(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TotalSteps = 3
	if _, err := runOnce(ctx, dev, c); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(c.Dir(), "checkpoint-00000003.safetensors"), filepath.Join(c.Dir(), "checkpoint-00000004.safetensors")); err != nil {
		t.Fatal(err)
	}
	c.TotalSteps = 5
	if _, err := runOnce(ctx, dev, c); err == nil || !strings.Contains(err.Error(), "is of step 3") {
		t.Errorf("error is %v", err)
	}
}

// With DetectAnomaly the operation is named that a planted value comes from, or
// that overflows; a sane step has the bits that it has without.
func TestDetectAnomaly(t *testing.T) {
	for _, half := range []string{"", "bf16", "f16"} {
		c := smallRun(t, t.TempDir())
		c.MixedPrecision, c.HalfType = half != "", "bf16"
		if half != "" {
			c.HalfType = half
		}
		bits := func(detect bool) []float32 {
			tr, table := newScaled(t, c, 1)
			tr.DetectAnomaly(detect)
			for range 5 {
				if err := tr.Step(); err != nil {
					t.Fatal(err)
				}
			}
			values := make([]float32, table.Len())
			if err := ops.Download(ctx, table, values); err != nil {
				t.Fatal(err)
			}
			return values
		}
		if !slices.Equal(bits(true), bits(false)) {
			t.Errorf("%s: other parameters with DetectAnomaly", half)
		}
		tr, table := newScaled(t, c, 1)
		tr.DetectAnomaly(true)
		values := make([]float32, table.Len())
		for i := range values {
			values[i] = float32(math.NaN())
		}
		if err := ops.Upload(ctx, table, values); err != nil {
			t.Fatal(err)
		}
		var found *ops.AnomalyError
		if err := tr.Step(); !errors.As(err, &found) || !strings.Contains(err.Error(), "train: step 1: ") {
			t.Fatalf("%s: NaN in the parameter: error is %v", half, err)
		}
		if found.Op != "embed" || !strings.HasPrefix(found.Where, "bigram.go:") || !strings.Contains(found.Where, "finite_test.go:") || !strings.HasPrefix(found.Input, table.Name()) {
			t.Errorf("%s: %+v, want embed, in bigram.go and from this file, which reads %s", half, *found, table.Name())
		}
	}
	c := smallRun(t, t.TempDir())
	c.MixedPrecision, c.LRMax, c.LRMin, c.WeightDecay = false, 1e30, 1e30, 0.1
	tr, _ := newScaled(t, c, 1)
	tr.DetectAnomaly(true)
	var err error
	for err == nil && tr.Iteration() < 4 {
		err = tr.Step()
	}
	var found *ops.AnomalyError
	if !errors.As(err, &found) || found.Op != "adamw" || found.Input != "" {
		t.Errorf("a parameter overflows: error is %v, want adamw with finite input", err)
	}
	c.MixedPrecision, c.HalfType, c.GradClipNorm = true, "f16", 1
	tr, _ = newScaled(t, c, 1e4)
	tr.DetectAnomaly(true)
	for range 10 { // the first are the loss scaler's to skip
		if err := tr.Step(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := tr.Skipped(ctx); n == 0 || err != nil {
		t.Errorf("%d steps were skipped, %v: the test shows nothing", n, err)
	}
}
