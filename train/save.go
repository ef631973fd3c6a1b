package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/transfer"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// Save writes a model and its optimizer to path: the parameters and, unless opt
// is nil, all that training needs of it to go on bit for bit (moments, step counts,
// loss scale). meta is for what else belongs to them, such as the number of the
// step. Between the passes that an optimizer accumulates and their update it is an
// error. The file is as [safetensors.Save] writes it: path is the old file or the whole
// new one, with checksums; folders that are missing are made. Save waits for the
// device. Values that are not finite
// are an error that names the tensor, and nothing is written.
func Save(ctx context.Context, path string, params *ops.Params, opt *optim.Optimizer, meta map[string]string) error {
	fail := func(err error) error { return fmt.Errorf("train: save %s: %w", path, err) }
	if err := checkState(params, opt); err != nil {
		return fail(err)
	}
	all := maps.Clone(meta)
	if all == nil {
		all = map[string]string{}
	}
	for _, key := range []string{formatKey, optimizerKey} {
		if _, taken := all[key]; taken {
			return fail(fmt.Errorf("metadata %q is reserved", key))
		}
	}
	all[formatKey] = checkpointFormat
	if opt != nil {
		if n := opt.Waiting(); n > 0 {
			return fail(fmt.Errorf("the gradients of %d backward passes wait for their update, and are not saved: run that first", n))
		}
		st, err := opt.State(ctx)
		if err != nil {
			return fail(err)
		}
		text, err := json.Marshal(st)
		if err != nil {
			return fail(err)
		}
		all[optimizerKey] = string(text)
	}
	var entries []safetensors.Entry
	for _, x := range stateTensors(opt, params) {
		raw, err := transfer.Download(ctx, x.Tensor)
		if err != nil {
			return fail(err)
		}
		kind := transfer.DType(x.DType())
		if i := dtype.FirstNonFinite(kind, raw); i >= 0 {
			return fail(fmt.Errorf("%s%q is not finite at %v", x.role, x.Name(), dtype.IndexOf(i, x.Shape())))
		}
		entries = append(entries, safetensors.Values(x.name, kind, x.Shape(), raw))
	}
	return safetensors.Save(path, all, entries)
}

// Load reads what [Save] wrote, or a checkpoint of a run, into params and opt and
// returns the metadata. opt may be nil: the optimizer's state is then left out.
// The whole file is checked before anything changes: checksums, and names, shapes
// and types of all tensors, of which none may be missing or left over.
func Load(ctx context.Context, path string, params *ops.Params, opt *optim.Optimizer) (meta map[string]string, err error) {
	fail := func(err error) (map[string]string, error) { return nil, fmt.Errorf("train: load %s: %w", path, err) }
	if err := checkState(params, opt); err != nil {
		return fail(err)
	}
	f, err := safetensors.OpenVerified(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	meta = maps.Clone(f.Meta())
	if err := checkFormat(meta); err != nil {
		return fail(err)
	}
	var st optim.State
	switch text, saved := meta[optimizerKey]; {
	case opt == nil:
	case !saved:
		return fail(fault.Mismatchedf("it was saved without an optimizer"))
	default:
		if st, err = optimizerMeta(text); err != nil {
			return fail(fault.Damaged(fmt.Errorf("metadata: optimizer: %w", err)))
		}
	}
	tensors := stateTensors(opt, params)
	if err := checkTensors(f, tensors, st, opt == nil); err != nil {
		return fail(err)
	}
	if err := restore(ctx, f, tensors, opt, st, nil); err != nil {
		return fail(err)
	}
	delete(meta, formatKey)
	delete(meta, optimizerKey)
	return meta, nil
}

// The metadata that every checkpoint has, the second with an optimizer.
const (
	formatKey    = "format"
	optimizerKey = "optimizer"
)

// checkState reports parameters without memory, and an optimizer of others.
func checkState(params *ops.Params, opt *optim.Optimizer) error {
	if err := transfer.CheckParams(params); err != nil || opt == nil {
		return err
	}
	if n := len(opt.Sets()); n > 1 {
		return fmt.Errorf("the optimizer has %d sets of parameters, want one: a Trainer saves all sets of a model", n)
	}
	if !slices.Equal(opt.Sets(), []*ops.Params{params}) || opt.Released() {
		return errors.New("the optimizer is one of other parameters, or was released")
	}
	return checkRules(opt.Groups())
}

// checkRules reports a rule that a reader of its checkpoint would not know by name.
func checkRules(groups []optim.Group) error {
	for _, g := range groups {
		if _, err := optim.RuleByName(g.Rule.Name()); err != nil {
			return fmt.Errorf("rule %q is a %T, unknown to readers of checkpoints: call optim.Register with it when the program starts", g.Rule.Name(), g.Rule)
		}
	}
	return nil
}

// isMoment reports whether a name is that of a tensor of an optimizer.
func isMoment(name string) bool {
	return slices.ContainsFunc(optim.SlotNames(), func(slot string) bool { return strings.HasPrefix(name, slot+".") })
}
