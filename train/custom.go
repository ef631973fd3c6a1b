package train

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// Custom is the structure of a model that this library does not know, see [Describer]:
// a JSON object without spaces, "" for none.
type Custom string

// String returns the object.
func (c Custom) String() string { return cmp.Or(string(c), "{}") }

// MarshalJSON implements json.Marshaler.
func (c Custom) MarshalJSON() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalJSON accepts an object.
func (c *Custom) UnmarshalJSON(data []byte) error {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil || b.Bytes()[0] != '{' {
		return fmt.Errorf("train: custom is %.40s, want a JSON object", data)
	}
	if *c = Custom(b.String()); *c == "{}" {
		*c = ""
	}
	return nil
}

// OpenCustom loads a custom model from a checkpoint, or the newest one in the folder of
// a run. reserve makes the model from the configuration of the run and the structure
// that [Describer] said there, with its parameters reserved ([ops.Params.Reserve]) or
// allocated: their values come from the file, none are drawn before. They may be
// stored as another type. Release of the model's sets frees it. Run under another
// name trains it further; From is for transformers.
func OpenCustom[M Model, S any](ctx context.Context, path string, reserve func(c Config, structure S) (M, error)) (m M, c Config, err error) {
	fail := func(err error) (M, Config, error) { return m, c, fmt.Errorf("train: checkpoint %s: %w", path, err) }
	if reserve == nil {
		return fail(errors.New("no function that makes the model"))
	}
	f, c, err := openRun(path)
	if err != nil {
		return m, c, err
	}
	defer f.Close()
	path = f.Path()
	if c.known() {
		return fail(fmt.Errorf("model is %q, want a custom one: OpenModel loads a transformer, Load the parameters of others", c.Model))
	}
	var structure S
	in := json.NewDecoder(strings.NewReader(c.Custom.String()))
	in.DisallowUnknownFields()
	if err := in.Decode(&structure); err != nil {
		return fail(fmt.Errorf("custom: %w", err))
	}
	if m, err = reserve(c, structure); err == nil {
		err = checkModel(m)
	}
	if err != nil {
		return fail(err)
	}
	if err := loadCustom(ctx, f, m, c); err != nil {
		for _, set := range paramSets(m) {
			set.Release()
		}
		return m, c, err
	}
	return m, c, nil
}

// loadCustom fills m, which must have the name that c says.
func loadCustom(ctx context.Context, f *safetensors.File, m Model, c Config) error {
	is, err := c.described(m)
	if err != nil {
		return err
	}
	if is.Model != c.Model {
		return fmt.Errorf("train: checkpoint %s: model is %q, want %q", f.Path(), c.Model, is.Model)
	}
	for _, set := range paramSets(m) {
		if err := loadParams(ctx, f, set, nil); err != nil {
			return err
		}
	}
	return nil
}
