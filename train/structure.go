package train

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// fromDecides are the fields that a model to start from decides: with other values
// its parameters would be another model's, or fit none.
var fromDecides = []string{"model", "vocab", "layers", "heads", "kv_heads", "width", "ffn", "norm", "norm_eps", "activation",
	"positions", "rope_theta", "tied", "bias"}

// checkStructure reports a field of c that was set to something else than the model
// to start from, which is at path and which source describes, has.
func (c Config) checkStructure(source Config, set map[string]bool, path string) error {
	c.KVHeads, source.KVHeads = cmp.Or(c.KVHeads, c.Heads), cmp.Or(source.KVHeads, source.Heads)
	a, b := reflect.ValueOf(c), reflect.ValueOf(source)
	for i := range a.NumField() {
		name := jsonName(a, i)
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if name == "rope_theta" && source.Positions == "learned" || name == "kv_heads" && c.KVHeads == c.Heads && source.KVHeads == source.Heads {
			continue // there is no such thing; heads tells
		}
		if x != y && set[name] && slices.Contains(fromDecides, name) {
			return fmt.Errorf("train: %s is %s, but the model to start from, %s, has %s: leave %[1]s out, or start from another model", name, show(x), path, show(y))
		}
	}
	return nil
}

// checkPositions reports sequences that are longer than the table of positions of the
// model to start from.
func (c Config) checkPositions(source Config, path string) error {
	asked, there := c.Transformer().Context, source.Transformer().Context
	if c.Positions != "learned" || asked <= there {
		return nil
	}
	name := "context_len"
	if c.MaxContext != 0 {
		name = "max_context"
	}
	return fmt.Errorf("train: %s is %d, but the model to start from, %s, has learned %d positions and no more", name, asked, path, there)
}
