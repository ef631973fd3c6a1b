package train

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// checkWritten refuses a structure of which text, what encoding/json makes of it, leaves something out: two models that
// differ in that would be taken for one. A field of the tag "-" is left out on purpose, and a type that has a way of its
// own to be written, or that can't be read back, knows what it does.
func checkWritten(structure any, text []byte) error {
	v := reflect.ValueOf(structure)
	back := reflect.New(v.Type())
	if json.Unmarshal(text, back.Interface()) != nil {
		return nil
	}
	if path, is := lost(v, back.Elem()); is {
		return fmt.Errorf("%T%s is not in the JSON object that encoding/json makes of it, %.200s: export the field, with a name of its own there, in UTF-8, or tag it %s where it does not define the model", structure, path, text, "`json:\"-\"`")
	}
	return nil
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// lost returns where in v a value is that back, which was written and read, does not have; false for nowhere.
func lost(v, back reflect.Value) (path string, is bool) {
	if p := reflect.PointerTo(v.Type()); p.Implements(jsonMarshaler) || p.Implements(textMarshaler) {
		return "", false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		switch {
		case v.IsNil() || null(v.Elem()):
			return "", false
		case back.IsNil():
			return "", true
		case v.Elem().Type() != back.Elem().Type(): // such as an integer, which an any reads as a float64
			return "", false
		}
		return lost(v.Elem(), back.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if path, is := lost(v.Field(i), back.Field(i)); is && f.Tag.Get("json") != "-" {
				return "." + f.Name + path, true
			}
		}
		return "", false
	case reflect.Slice, reflect.Array:
		for i := range min(v.Len(), back.Len()) {
			if path, is := lost(v.Index(i), back.Index(i)); is {
				return fmt.Sprintf("[%d]%s", i, path), true
			}
		}
		return "", v.Len() != back.Len()
	case reflect.Map:
		for _, key := range v.MapKeys() {
			with := back.MapIndex(key)
			if !with.IsValid() {
				return fmt.Sprintf("[%q]", key), true
			}
			if path, is := lost(v.MapIndex(key), with); is {
				return fmt.Sprintf("[%q]%s", key, path), true
			}
		}
		return "", false
	case reflect.String:
		return "", v.String() != back.String()
	}
	return "", !v.IsZero() && back.IsZero()
}

// null reports whether JSON has null for v.
func null(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return v.IsNil()
	}
	return false
}
