package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
)

// ReadConfig reads a JSON file on top of the defaults and validates the result.
// An unknown or repeated key, a value of the wrong type and an impossible value
// are errors that name the field.
func ReadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("train: config: %w", err)
	}
	c := DefaultConfig()
	if err := c.parse(data); err != nil {
		return Config{}, fmt.Errorf("train: config %s: %w", path, err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%w (in %s)", err, path)
	}
	return c, nil
}

// parse sets the fields that a JSON object names. It is stricter than
// json.Unmarshal, which takes Batch_Size for batch_size, the last of two equal
// keys, null for "keep the default", and an array of any length for [Betas].
func (c *Config) parse(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil {
		return ended(err)
	} else if open != json.Delim('{') {
		return fmt.Errorf("starts with %v, want a JSON object", open)
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return ended(err)
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v is not a key", token)
		}
		field, err := c.field(key)
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%s is set twice", key)
		}
		seen[key] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fmt.Errorf("%s: %w", key, ended(err))
		}
		if err := json.Unmarshal(raw, field); err != nil || string(raw) == "null" {
			return fmt.Errorf("%s is %s, want %s", key, raw, kind(field))
		}
	}
	if _, err := dec.Token(); err != nil {
		return ended(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("has something after the closing brace")
	}
	return nil
}

// ended gives the end of the file inside the object a name of its own.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// field returns the pointer to the field with a JSON name.
func (c *Config) field(key string) (any, error) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("json") == key {
			return v.Field(i).Addr().Interface(), nil
		}
	}
	return nil, fmt.Errorf("unknown field %q", key)
}

// kind says in words what a field holds.
func kind(field any) string {
	switch field.(type) {
	case *string:
		return "a string"
	case *bool:
		return "true or false"
	case *int, *int64:
		return "an integer"
	case *uint64:
		return "an integer that is not negative"
	case *Betas:
		return "two numbers"
	default:
		return "a number"
	}
}

// UnmarshalJSON accepts an array of exactly two numbers.
func (b *Betas) UnmarshalJSON(data []byte) error {
	var list []*float64
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list) != len(b) || list[0] == nil || list[1] == nil {
		return fmt.Errorf("train: betas is %s, want two numbers", data)
	}
	*b = Betas{*list[0], *list[1]}
	return nil
}

// Override sets one field from text of the form key=value, with the key of the
// JSON file: "batch_size=64", "betas=0.9,0.99", "data=". Only the type is
// checked; call Validate after the last one.
func (c *Config) Override(assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("train: override %q, want key=value", assignment)
	}
	field, err := c.field(key)
	if err != nil {
		return fmt.Errorf("train: override %q: %w", assignment, err)
	}
	before := *c
	switch p := field.(type) {
	case *string:
		*p = value
	case *bool:
		*p, err = strconv.ParseBool(value)
	case *int:
		*p, err = strconv.Atoi(value)
	case *int64:
		*p, err = strconv.ParseInt(value, 10, 64)
	case *uint64:
		*p, err = strconv.ParseUint(value, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(value, 64)
	case *Betas:
		err = p.UnmarshalJSON([]byte("[" + strings.Trim(value, "[]") + "]"))
	default:
		err = fmt.Errorf("a field of type %T", p)
	}
	if err != nil {
		*c = before
		return fmt.Errorf("train: %s is %q, want %s", key, value, kind(field))
	}
	return nil
}

// ConfigFlags registers one flag per field on fs, named as in the JSON file, and
// returns the assignments that fs.Parse will find, in their order. Pass them to
// Override once the configuration file is read, which a flag may have named;
// defaults are what the usage text shows:
//
//	overrides := train.ConfigFlags(flag.CommandLine, train.DefaultConfig())
//	file := flag.String("config", "", "configuration file")
//	flag.Parse()
func ConfigFlags(fs *flag.FlagSet, defaults Config) *[]string {
	assignments := new([]string)
	v := reflect.ValueOf(defaults)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		value := &fieldFlag{key: tag.Get("json"), initial: v.Field(i).Interface(), assignments: assignments}
		fs.Var(value, value.key, tag.Get("usage"))
	}
	return assignments
}

// fieldFlag is the flag.Value of one field. It checks the type at once, so that
// the flag package reports the mistake with its usage.
type fieldFlag struct {
	key         string
	initial     any
	assignments *[]string
}

// Set implements flag.Value.
func (f *fieldFlag) Set(text string) error {
	var scratch Config
	assignment := f.key + "=" + text
	if err := scratch.Override(assignment); err != nil {
		return err
	}
	*f.assignments = append(*f.assignments, assignment)
	return nil
}

// String implements flag.Value: the default, which usage prints.
func (f *fieldFlag) String() string {
	if b, ok := f.initial.(Betas); ok {
		return fmt.Sprintf("%v,%v", b[0], b[1])
	}
	if f.initial == nil { // the zero value that package flag makes to compare with
		return ""
	}
	return fmt.Sprint(f.initial)
}

// IsBoolFlag lets -mixed_precision stand for -mixed_precision=true.
func (f *fieldFlag) IsBoolFlag() bool {
	_, ok := f.initial.(bool)
	return ok
}

// Write writes the configuration as indented JSON, atomically, for ReadConfig.
func (c Config) Write(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("train: config %s: %w", path, err)
	}
	return replaceFile(path, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}
