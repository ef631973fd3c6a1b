package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// stateTensor is one tensor of the training state under its checkpoint name: that
// of the parameter that it belongs to, which is its own name, after the name of the
// optimizer's slot, if it is one. role says the same in words.
type stateTensor struct {
	name, role string
	*ops.Tensor
}

// tensors lists everything on the device that a checkpoint must hold.
func (t *Trainer) tensors() []stateTensor { return stateTensors(t.opt, t.sets...) }

// stateTensors lists the parameters of the sets and, unless opt is nil, what it
// keeps of them.
func stateTensors(opt *optim.Optimizer, sets ...*ops.Params) []stateTensor {
	var all []stateTensor
	for _, set := range sets {
		for _, p := range set.All() {
			all = append(all, stateTensor{p.Name(), "parameter ", p})
			if opt == nil {
				continue
			}
			for _, s := range opt.Slots(p) {
				all = append(all, stateTensor{s.Name + "." + p.Name(), s.Title + " of ", s.Tensor})
			}
		}
	}
	return all
}

// stateBytes is what a checkpoint holds of them.
func stateBytes(all []stateTensor) (n int64) {
	for _, x := range all {
		n += x.bytes()
	}
	return n
}

func (x stateTensor) bytes() int64 {
	return int64(x.Len()) * dtype.Size[transfer.DType(x.DType())]
}

// checkNames refuses parameters that no checkpoint could hold under their names, before a run has anything to save.
func checkNames(all []stateTensor) error {
	seen := map[string]bool{}
	for _, x := range all {
		if err := safetensors.CheckName(x.name); err != nil {
			return fmt.Errorf("train: %w: a checkpoint could not hold it", err)
		}
		if seen[x.name] {
			return fmt.Errorf("train: a checkpoint would have two tensors %q: %s%q and another, rename one parameter", x.name, x.role, x.Name())
		}
		seen[x.name] = true
	}
	return nil
}

// Snapshot is the training state in host memory, so that the loop goes on while
// it is being written.
//
// As a checkpoint it is a safetensors file with the parameters under their own names and
// what the optimizer keeps of them with the name of an [optim.Slot] and a point before
// that. Its metadata holds iteration, step counts, loss scale, configuration and what
// tells data, tokenizer and the model of Config.From from others: how many tokens there
// are, checksums, and what the tokenizer does, not where their files lie.
type Snapshot struct {
	Iteration int64
	meta      map[string]string
	entries   []safetensors.Entry
}

// Snapshot waits for the submitted steps and copies the state off the device. A
// state that is not finite is refused with a [*NonFiniteError]: no checkpoint
// worth going on from is ever followed, or pushed out, by one that is not.
func (t *Trainer) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := t.Wait(ctx); err != nil {
		return nil, err
	}
	st, err := t.opt.State(ctx)
	if err != nil {
		return nil, err
	}
	optState, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	cfg, err := json.Marshal(t.cfg)
	if err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	s := &Snapshot{Iteration: t.iter, meta: map[string]string{
		formatKey: checkpointFormat, "iteration": strconv.FormatInt(t.iter, 10), optimizerKey: string(optState), "config": string(cfg)}}
	addOrigin(s.meta, t.origin)
	if err := t.from.add(s.meta); err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	if t.data != nil {
		data, err := json.Marshal(t.data)
		if err != nil {
			return nil, fmt.Errorf("train: checkpoint: %w", err)
		}
		s.meta[identityKey] = string(data)
	}
	for _, x := range t.tensors() {
		raw, err := transfer.Download(ctx, x.Tensor)
		if err != nil {
			return nil, fmt.Errorf("train: checkpoint: %s: %w", x.name, err)
		}
		if err := t.scan(x, raw); err != nil {
			return nil, err
		}
		s.entries = append(s.entries, safetensors.Values(x.name, transfer.DType(x.DType()), x.Shape(), raw))
	}
	return s, nil
}

// Save writes the snapshot into dir and removes old ones and returns the
// path. It needs no device, so it may run beside the next steps.
func (s *Snapshot) Save(dir string, keep int) (path string, err error) {
	return saveCheckpoint(output.OS{}, dir, s.Iteration, s.meta, s.entries, keep)
}

// Restore makes the state that of a checkpoint file, after which training goes
// on bit for bit. The file is checked whole (checksum, names, shapes, types,
// configuration) before anything changes. The next Step is the one after the
// checkpoint's iteration.
func (t *Trainer) Restore(ctx context.Context, path string) error { return t.restore(ctx, path, nil) }

// restore is Restore; m counts the bytes of the state.
func (t *Trainer) restore(ctx context.Context, path string, m *meter.Meter) error {
	if err := t.open(); err != nil {
		return err
	}
	f, err := openNewest(path)
	if err != nil {
		return err
	}
	defer f.Close()
	iter, st, before, err := t.checkFile(f)
	if err != nil {
		return fmt.Errorf("train: checkpoint %s: %w", path, err)
	}
	if err := restore(ctx, f, t.tensors(), t.opt, st, m); err != nil {
		return fmt.Errorf("train: checkpoint %s: %w", path, err)
	}
	t.iter, t.origin, t.before = iter, originOf(f.Meta()), before
	if t.from, err = readModelIdentity(f.Meta()); err != nil {
		return fmt.Errorf("train: checkpoint %s: %w", path, err)
	}
	t.keepTokenizer(f.Meta())
	return nil
}

// keepTokenizer says of tokens of which it isn't known what made them that it was
// what the checkpoint says, when it was trained on the same ones.
func (t *Trainer) keepTokenizer(meta map[string]string) {
	was, err := readIdentity(meta)
	if err != nil || was == nil || t.data == nil || t.data.Tokenizer != nil || !slices.Equal(t.data.Files, was.Files) {
		return
	}
	data := *t.data
	data.Tokenizer = was.Tokenizer
	t.data, t.cfg.Tokenizer = &data, t.before.Tokenizer
}

// checkFile compares a checkpoint with this trainer; cfg is the checkpoint's.
func (t *Trainer) checkFile(f *safetensors.File) (iter int64, st optim.State, cfg Config, err error) {
	if iter, st, cfg, err = checkpointMeta(f.Meta()); err != nil {
		return 0, st, cfg, err
	}
	if err := t.cfg.checkBefore(cfg); err != nil {
		return 0, st, cfg, err
	}
	was, err := readIdentity(f.Meta())
	if err == nil && !t.cfg.NewData {
		err = t.data.Same(was)
	}
	if err != nil {
		return 0, st, cfg, err
	}
	return iter, st, cfg, checkTensors(f, t.tensors(), st, false)
}

// checkTensors compares a checkpoint with what is to be read from it: names,
// shapes, types, and values that are finite. It may hold an optimizer's state
// besides where that is left out.
func checkTensors(f *safetensors.File, tensors []stateTensor, st optim.State, leaveOut bool) error {
	want := map[string]bool{}
	for _, x := range tensors {
		want[x.name] = true
		dt, shape, ok := f.Info(x.name)
		switch {
		case !ok:
			return fault.Mismatchedf("tensor %q is missing", x.name)
		case dt != transfer.DType(x.DType()) || !slices.Equal(shape, x.Shape()):
			return fault.Mismatchedf("tensor %q is %s%v, want %s%v", x.name, dt, shape, transfer.DType(x.DType()), x.Shape())
		}
		raw, err := f.Bytes(x.name)
		if err != nil {
			return err
		}
		if i := dtype.FirstNonFinite(dt, raw); i >= 0 {
			return fault.Damaged(fmt.Errorf("tensor %q is not finite: value %d is %v", x.name, i, dtype.Float32(dt, raw[int64(i)*dtype.Size[dt]:])))
		}
	}
	for _, name := range f.Names() {
		if !want[name] && !(leaveOut && isMoment(name)) {
			return fault.Mismatchedf("tensor %q is not one of this model", name)
		}
	}
	for name := range st.Steps {
		if !want[name] {
			return fault.Mismatchedf("optimizer: steps of %q, which is no parameter of this model", name)
		}
	}
	return nil
}

// checkpointFormat is the version of what a checkpoint's metadata and tensors mean.
const checkpointFormat = "lemnos-1"

func checkFormat(meta map[string]string) error {
	if meta[formatKey] != checkpointFormat {
		return fault.Unsupportedf("metadata: format is %q, this version reads %q", meta[formatKey], checkpointFormat)
	}
	return nil
}

// checkpointMeta reads the metadata that Snapshot writes. All of it must be
// there; errors name the field.
func checkpointMeta(meta map[string]string) (iter int64, st optim.State, cfg Config, err error) {
	iter, st, cfg, err = readMeta(meta)
	return iter, st, cfg, fault.Damaged(err)
}

func readMeta(meta map[string]string) (iter int64, st optim.State, cfg Config, err error) {
	for _, key := range []string{formatKey, "iteration", optimizerKey, "config"} {
		if meta[key] == "" {
			return 0, st, cfg, fmt.Errorf("metadata: %s is missing: not a checkpoint of a training run", key)
		}
	}
	if err := checkFormat(meta); err != nil {
		return 0, st, cfg, err
	}
	iter, err = strconv.ParseInt(meta["iteration"], 10, 64)
	if err != nil || iter < 0 || strconv.FormatInt(iter, 10) != meta["iteration"] {
		return 0, st, cfg, fmt.Errorf("metadata: iteration is %q, want a number of steps", meta["iteration"])
	}
	if st, err = optimizerMeta(meta[optimizerKey]); err != nil {
		return 0, st, cfg, fmt.Errorf("metadata: optimizer: %w", err)
	}
	cfg = earlierConfig()
	for _, into := range []any{&cfg.TransformerConfig, &cfg} { // package json would put the embedded type's name before a field's
		if err = input.Unmarshal([]byte(meta["config"]), into); err != nil {
			return 0, st, cfg, fmt.Errorf("metadata: config: %w", err)
		}
	}
	return iter, st, cfg, nil
}

// optimizerMeta reads the optimizer's counters, all of which must be there.
func optimizerMeta(text string) (st optim.State, err error) {
	var in struct {
		Steps map[string]int64
		Scale *float32
		Good  *uint32
		Skips *uint32

		Unscaled bool
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return st, input.Explain([]byte(text), err)
	}
	switch {
	case dec.More():
		return st, errors.New("has something after the closing brace")
	case in.Steps == nil:
		return st, errors.New("field Steps is missing")
	case in.Scale == nil || !(*in.Scale > 0):
		return st, errors.New("field Scale is missing or not positive")
	case in.Good == nil:
		return st, errors.New("field Good is missing")
	case in.Skips == nil:
		return st, errors.New("field Skips is missing")
	}
	for name, n := range in.Steps {
		if n < 0 {
			return st, fmt.Errorf("%d steps of %q", n, name)
		}
	}
	return optim.State{Steps: in.Steps, Scale: *in.Scale, Good: *in.Good, Skips: *in.Skips, Unscaled: in.Unscaled}, nil
}
