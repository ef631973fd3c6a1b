package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// Unmarshal is that of package json, with errors in words: line and column, the
// path of the field, what it is and what it should be.
func Unmarshal(data []byte, into any) error { return Explain(data, json.Unmarshal(data, into)) }

// Explain puts an error of package json about data into words.
func Explain(data []byte, err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fault.Damaged(fmt.Errorf("%s: %w", Place(data, syntax.Offset-1), err))
	case errors.As(err, &mismatch):
		is := mismatch.Value
		switch first, rest, _ := strings.Cut(is, " "); {
		case first == "number" && rest != "":
			is = rest
		case first == "bool":
			is = "true or false"
		case first == "array":
			is = "a list"
		case first == "object":
			is = "an object"
		default:
			is = "a " + is
		}
		field := mismatch.Field
		if field == "" {
			field = "it"
		}
		text := fmt.Sprintf("%s is %s, want %s", field, is, wanted(mismatch.Type))
		if mismatch.Offset > 0 {
			text = Place(data, mismatch.Offset-1) + ": " + text
		}
		return errors.New(text)
	}
	return err
}

// Wanted is a type that says itself what its JSON should be.
type Wanted interface {
	// Wanted returns it in words, such as "an id or a list of ids".
	Wanted() string
}

// Mismatch is the error of such a type's UnmarshalJSON. Where it is, its field tells.
func Mismatch[T Wanted](data []byte) error {
	kinds := map[byte]string{'"': "string", '{': "object", '[': "array", 't': "bool", 'f': "bool", 'n': "null"}
	value, known := kinds[data[0]]
	if !known {
		value = "number " + string(data)
	}
	return &json.UnmarshalTypeError{Value: value, Type: reflect.TypeFor[T]()}
}

// wanted says what JSON a type is read from.
func wanted(t reflect.Type) string {
	if w, ok := reflect.Zero(t).Interface().(Wanted); ok {
		return w.Wanted()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("an integer of %d bits", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("an integer of %d bits that is not negative", t.Bits())
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// Place says where byte at of a text is.
func Place(text []byte, at int64) string {
	before := text[:min(max(at, 0), int64(len(text)))]
	return fmt.Sprintf("line %d, column %d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
}

// Quote returns a valid UTF-8 string as JSON, as Python writes it but for letters
// beyond ASCII, which stay.
func Quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(s) // strings and buffers give no error
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
