package train

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

// Describer is a [Model] that says what it is, for the configuration that is
// written with a run; of others that is the name of their type.
type Describer interface {
	// Description returns a few words.
	Description() string
}

// ownData is what a configuration that names no data says of data that was not
// opened by its means.
const ownData = "(the program's own)"

// structure are the fields that only a transformer has, by their names in a file.
var structure = []string{"layers", "heads", "kv_heads", "width", "ffn", "norm", "norm_eps", "activation", "max_context",
	"positions", "rope_theta", "tied", "bias", "init", "dropout", "recompute"}

// described returns the configuration of a run of model, whatever model it was
// meant for: what is written must be what is trained.
func (c Config) described(model Model) Config {
	switch m := model.(type) {
	case *nn.Transformer:
		if meant := c; c.Transformer() != m.Config() {
			c.SetTransformer(m.Config())
			c.ContextLen, c.MaxContext = meant.ContextLen, c.ContextLen
			c.RopeTheta = cmp.Or(c.RopeTheta, meant.RopeTheta) // 0 where positions are learned
		}
	case *nn.Bigram:
		c.Model = "bigram"
	case Describer:
		c.Model = m.Description()
	default:
		c.Model = fmt.Sprintf("%T", model)
	}
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		if !c.known() && slices.Contains(structure, jsonName(v, i)) {
			v.Field(i).SetZero()
		}
	}
	switch dt := model.Params().DType(); dt {
	case ops.F32:
		c.MixedPrecision = false
	default:
		c.MixedPrecision, c.HalfType = true, dt.String()
	}
	return c
}

// known reports whether [NewModel] makes the model.
func (c Config) known() bool { return c.Model == "transformer" || c.Model == "bigram" }

func jsonName(v reflect.Value, i int) string { return v.Type().Field(i).Tag.Get("json") }

// MarshalJSON writes the fields in their order; those of a transformer's structure
// are left out for a model that is none of this library's.
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config // without this method
	if c.known() {
		return json.Marshal(plain(c))
	}
	var b bytes.Buffer
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name := jsonName(v, i)
		if slices.Contains(structure, name) {
			continue
		}
		value, err := json.Marshal(v.Field(i).Interface())
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%q:%s", name, value)
	}
	return append(append([]byte("{"), b.Bytes()[1:]...), '}'), nil
}
