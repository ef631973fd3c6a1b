package train

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// Describer is a custom [Model] that says what it is, for config.json and the
// checkpoints; of others that is the name of their type.
type Describer interface {
	// Description returns a name, or "" for that of the type, and the structure: what
	// encoding/json writes as an object, or nil. Values that it leaves out, as of fields
	// that are not exported, are an error but for the tag "-". A run is resumed only by a model with
	// the same, and [OpenCustom] makes one from it.
	Description() (name string, structure any)
}

// ownData is what a configuration that names no data says of data that was not
// opened by its means.
const ownData = "(the program's own)"

// described returns the configuration of a run of model, whatever model it was
// meant for: what is written must be what is trained.
func (c Config) described(model Model) (Config, error) {
	c.Custom = ""
	switch m := model.(type) {
	case *nn.Transformer:
		if meant := c; c.Transformer().Resolved() != m.Config() {
			c.SetTransformer(m.Config())
			c.ContextLen, c.Context = meant.ContextLen, c.ContextLen
			c.RopeTheta = cmp.Or(c.RopeTheta, meant.RopeTheta) // 0 where positions are learned
		}
	case *nn.Bigram:
		c.Model = "bigram"
	default:
		if err := c.describeCustom(model); err != nil {
			return c, err
		}
	}
	if !c.known() {
		c.TransformerConfig = nn.TransformerConfig{Vocab: c.Vocab}
	}
	switch dt := model.Params().DType(); dt {
	case ops.F32:
		c.MixedPrecision = false
	default:
		c.MixedPrecision, c.HalfType = true, dt.String()
	}
	return c, nil
}

func (c *Config) describeCustom(model Model) error {
	c.Model = fmt.Sprintf("%T", model)
	m, ok := model.(Describer)
	if !ok {
		return nil
	}
	name, structure := m.Description()
	c.Model = cmp.Or(name, c.Model)
	if c.known() {
		return fmt.Errorf("train: a model of type %T describes itself as %q, which is one of this library's", model, name)
	}
	if !utf8.ValidString(c.Model) {
		return fmt.Errorf("train: a model of type %T describes itself as %q, which is not UTF-8", model, name)
	}
	if structure == nil {
		return nil
	}
	text, err := json.Marshal(structure)
	if err == nil {
		err = c.Custom.UnmarshalJSON(text)
	}
	if err == nil {
		err = checkWritten(structure, text)
	}
	if err != nil {
		return fmt.Errorf("train: structure of model %s: %w", c.Model, err)
	}
	return nil
}

// known reports whether [NewModel] makes the model.
func (c Config) known() bool { return c.Model == "transformer" || c.Model == "bigram" }

// MarshalJSON writes the fields in their order, but those of a transformer's structure
// for a custom model, and custom where it is empty.
func (c Config) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for _, f := range fields {
		if f.name == "custom" && c.Custom == "" || !c.known() && f.structure {
			continue
		}
		value, err := json.Marshal(f.get(c))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%q:%s", f.name, value)
	}
	return append(append([]byte("{"), b.Bytes()[1:]...), '}'), nil
}
