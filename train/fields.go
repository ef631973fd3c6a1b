package train

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/internal/near"
)

// field is one of a configuration, or of the structure in it.
type field struct {
	name      string // in files, flags and errors
	usage     string
	resume    string // "model", "same" or "free", see [Config]
	structure bool   // only a transformer has it
	index     []int
}

// fields are those of [Config], in their order.
var fields = fieldsOf(reflect.TypeFor[Config]())

func fieldsOf(config reflect.Type) (all []field) {
	for _, f := range reflect.VisibleFields(config) {
		if f.Anonymous { // its own fields follow
			continue
		}
		name := f.Tag.Get("json")
		all = append(all, field{name, f.Tag.Get("usage"), f.Tag.Get("resume"), len(f.Index) > 1 && name != "vocab", f.Index})
	}
	return all
}

// of returns the field of c, which can be set.
func (f field) of(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// get returns the value that c has.
func (f field) get(c Config) any { return f.of(&c).Interface() }

// fieldOf returns the field with a name.
func fieldOf(name string) (field, error) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		text := fmt.Sprintf("unknown field %q", name)
		var names []string
		for _, f := range fields {
			names = append(names, f.name)
		}
		if near := near.Names(names, name); len(near) > 0 {
			text += ", but there is " + strings.Join(near, ", ")
		}
		return field{}, errors.New(text)
	}
	return fields[i], nil
}

// field returns the pointer to the field with a name.
func (c *Config) field(name string) (any, error) {
	f, err := fieldOf(name)
	if err != nil {
		return nil, err
	}
	return f.of(c).Addr().Interface(), nil
}

// resolved returns c with the structure that it means, and no 16-bit type where nothing is stored as one.
func (c Config) resolved() Config {
	c.TransformerConfig = c.Transformer().Resolved()
	if !c.MixedPrecision {
		c.HalfType = ""
	}
	return c
}

// Diff lists the fields that must be the same when a run is resumed and are not,
// each with both values; c is the run, other the checkpoint's configuration.
func (c Config) Diff(other Config) []string {
	var diff []string
	for _, f := range fields {
		x, y := f.get(c), f.get(other)
		if f.resume != "free" && x != y && f.get(c.resolved()) != f.get(other.resolved()) {
			diff = append(diff, fmt.Sprintf("%s is %s, want %s", f.name, show(y), show(x)))
		}
	}
	return diff
}

// show prints a value so that an empty string can be seen.
func show(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}
