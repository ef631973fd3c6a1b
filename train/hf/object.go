package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// object is a JSON object with the text of every value as it was written, so that
// what is not understood can be written again.
type object struct {
	fields map[string]field
	text   []byte
}

type field struct {
	raw string
	at  int64 // in object.text; -1 for a value that has been set since
}

// parseObject reads what Python's json writes: JSON, and NaN and infinities.
func parseObject(text []byte) (object, error) {
	o := object{map[string]field{}, text}
	if !utf8.Valid(text) {
		return o, fault.Damaged(errors.New("it is not UTF-8"))
	}
	clean := quoteNonFinite(text)
	var whole json.RawMessage
	if err := json.Unmarshal(clean, &whole); err != nil {
		return o, input.Explain(text, err)
	}
	dec := json.NewDecoder(bytes.NewReader(clean))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return o, fault.Damaged(fmt.Errorf("it starts with %v, want a JSON object", open))
	}
	for dec.More() { // the syntax is right: Token and Decode can't fail
		key, _ := dec.Token()
		var raw json.RawMessage
		dec.Decode(&raw)
		end := dec.InputOffset()
		at := end - int64(len(raw))
		o.fields[key.(string)] = field{string(text[at:end]), at}
	}
	return o, nil
}

// quoteNonFinite makes NaN and infinities JSON of the same length: strings, which no
// field of a number takes.
func quoteNonFinite(text []byte) []byte {
	clean := bytes.Clone(text)
	for i, inString := 0, false; i < len(clean); i++ {
		switch c := clean[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case !inString:
			for _, word := range []string{"NaN", "-NaN", "Infinity", "-Infinity"} {
				if bytes.HasPrefix(clean[i:], []byte(word)) {
					clean[i], clean[i+len(word)-1] = '"', '"'
					i += len(word) - 1
					break
				}
			}
		}
	}
	return clean
}

// get returns a value's text without white space; ok is false where it is null or
// absent.
func (o object) get(key string) (text string, ok bool) {
	v, ok := o.fields[key]
	var b bytes.Buffer
	if json.Compact(&b, []byte(v.raw)) == nil {
		v.raw = b.String()
	}
	return v.raw, ok && v.raw != "null"
}

// place says where a value is.
func (o object) place(key string) string { return input.Place(o.text, o.fields[key].at) }

// decode fills the struct that into points to: each field with the value of its JSON
// key, where there is one that is not null.
func (o object) decode(into any) error {
	s := reflect.ValueOf(into).Elem()
	for i := range s.NumField() {
		key := jsonKey(s.Type().Field(i))
		if _, ok := o.get(key); !ok {
			continue
		}
		raw := o.fields[key].raw
		if err := json.Unmarshal(quoteNonFinite([]byte(raw)), s.Field(i).Addr().Interface()); err != nil {
			return fault.Damaged(fmt.Errorf("%s: %s is %.80s, want %s", o.place(key), key, raw, kindOf(s.Field(i).Interface())))
		}
	}
	return nil
}

// jsonKey returns the name that a field has in JSON.
func jsonKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key
}

func kindOf(v any) string {
	switch v := v.(type) {
	case float, *float:
		return "a number"
	case input.Wanted:
		return v.Wanted()
	case []string:
		return "a list of strings"
	case int:
		return "an integer"
	case bool:
		return "true or false"
	}
	return "a string"
}

// bytes returns the object as the transformers package writes it: a line for each
// field, in the order of their names.
func (o object) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("{")
	for i, key := range slices.Sorted(maps.Keys(o.fields)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n  %s: %s", input.Quote(key), o.fields[key].raw)
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}

// tokenIDs are written as an id where they are one.
type tokenIDs = input.IDs
