package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// ReadConfig reads a file of TOML or JSON on top of the defaults, those for fine-tuning
// where it sets from or those of the preset that it names, and validates the result. An unknown or repeated key, a
// value of the wrong type and an impossible value are errors that name the field, and
// line and column.
func ReadConfig(path string) (Config, error) {
	c, err := compose("", path, nil)
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fault.Unsupportedf("%w (in %s)", err, path)
	}
	return c.Config, nil
}

// setting is a field as a file sets it.
type setting struct {
	key   string
	raw   string // the value, as JSON
	place string // line and column
}

// givenFile is a file of a configuration.
type givenFile struct {
	path       string
	data       []byte
	settings   []setting
	statements []statement // of TOML, for the comments
}

// readGiven reads a file, or the standard input for "-": JSON where it begins with a
// brace or is named .json, TOML else.
func readGiven(path string) (*givenFile, error) {
	data, err := readInput(path)
	if err != nil {
		return nil, fmt.Errorf("train: config: %w", err)
	}
	f := &givenFile{path: path, data: data}
	if path == "-" {
		f.path = "from the standard input"
	}
	return f, f.named(f.parse())
}

func (f *givenFile) parse() (err error) {
	if filepath.Ext(f.path) == ".json" || isJSON(f.data) && filepath.Ext(f.path) != ".toml" {
		f.settings, err = parseJSON(f.data)
	} else {
		f.settings, f.statements, err = parseTOML(f.data)
	}
	return err
}

// isJSON reports whether data is JSON rather than TOML, in which no line begins with a brace.
func isJSON(data []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) }

func readInput(path string) ([]byte, error) {
	if path != "-" {
		return input.Read(path, input.MaxSmall)
	}
	data, err := io.ReadAll(io.LimitReader(os.Stdin, maxTOML+1))
	if err == nil && len(data) > maxTOML {
		err = fault.Damaged(fmt.Errorf("the standard input has more than %d bytes", maxTOML))
	}
	if err == nil && len(bytes.TrimSpace(data)) == 0 {
		err = fault.Damaged(fmt.Errorf("the standard input is empty"))
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), err
}

// origin is where the fields come from that the file sets.
func (f *givenFile) origin() string {
	if input, ok := strings.CutPrefix(f.path, "from "); ok {
		return input
	}
	return "file " + f.path
}

// named is an error of the file.
func (f *givenFile) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("train: config %s: %w", f.path, fault.Unsupported(err))
}

// base returns the name of the preset that the file is on top of: that which is asked for
// or that it names, else that for fine-tuning where from names a model, here or in it,
// else "", the defaults.
func (f *givenFile) base(preset, from string) (string, error) {
	for _, s := range f.settings {
		var text string
		if json.Unmarshal([]byte(s.raw), &text) != nil {
			continue // apply says of which type it should be
		}
		switch {
		case s.key == "preset" && preset == "":
			if _, err := Preset(text); err != nil {
				return "", f.named(fmt.Errorf("%s: %w", s.place, err))
			}
			preset = text
		case s.key == "from" && from == "":
			from = text
		}
	}
	if preset == "" && tunes(from) {
		preset = "finetune"
	}
	return preset, nil
}

// apply sets the fields of c that the file does.
func (f *givenFile) apply(c *Config) error {
	before, set := *c, map[string]bool{}
	for _, s := range f.settings {
		if set[s.key] {
			return f.named(fmt.Errorf("%s: %s is set twice", s.place, s.key))
		}
		set[s.key] = true
		if err := s.apply(c); err != nil {
			return f.named(fmt.Errorf("%s: %w", s.place, err))
		}
	}
	if !set["warmup_iters"] {
		c.keepWarmupShare(before.TotalSteps)
	}
	c.followRule(before, set)
	return nil
}

// keys are the fields that it sets.
func (f *givenFile) keys() map[string]bool {
	set := map[string]bool{}
	if f != nil {
		for _, s := range f.settings {
			set[s.key] = true
		}
	}
	return set
}

// apply is stricter than json.Unmarshal, which takes Batch_Size for batch_size, null for
// "keep the default", and an array of any length for [Betas].
func (s setting) apply(c *Config) error {
	if s.key == "preset" { // see base
		var name string
		if s.raw == "null" || json.Unmarshal([]byte(s.raw), &name) != nil {
			return fmt.Errorf("preset is %s, want a string", s.raw)
		}
		return nil
	}
	field, err := c.field(s.key)
	if err != nil {
		return err
	}
	raw := s.raw
	var text string
	if json.Unmarshal([]byte(raw), &text) == nil {
		switch field.(type) {
		case *uint64: // TOML's integers end at half of them
			if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > math.MaxInt64 {
				raw = text
			}
		case *Custom: // TOML's tables forget the order of their keys
			raw = text
		}
	}
	if err := json.Unmarshal([]byte(raw), field); err != nil || raw == "null" {
		return fmt.Errorf("%s is %s, want %s", s.key, s.raw, kind(field))
	}
	return nil
}

// parseJSON returns the fields that a JSON object sets, in their order.
func parseJSON(data []byte) (all []setting, err error) {
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, input.Explain(data, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("starts with %.20s, want a JSON object", bytes.TrimSpace(data))
	}
	for dec.More() { // the syntax is right: Token and Decode can't fail
		token, _ := dec.Token()
		s := setting{key: token.(string), place: input.Place(data, dec.InputOffset()-1)}
		var raw json.RawMessage
		dec.Decode(&raw)
		s.raw = string(raw)
		all = append(all, s)
	}
	return all, nil
}

// keys returns the fields that assignments set.
func keys(assignments []string) map[string]bool {
	set := map[string]bool{}
	for _, a := range assignments {
		key, _, _ := strings.Cut(a, "=")
		set[key] = true
	}
	return set
}

// overrideAll overrides fields in the order given. With total_steps the warm-up
// changes too, unless it is set, here or in the file whose fields inFile has, and with
// optimizer what depends on it, unless that is set here.
func (c *Config) overrideAll(assignments []string, inFile map[string]bool) error {
	before, set := *c, keys(assignments)
	for _, a := range assignments {
		if err := c.Override(a); err != nil {
			return err
		}
	}
	if !set["warmup_iters"] && !inFile["warmup_iters"] {
		c.keepWarmupShare(before.TotalSteps)
	}
	c.followRule(before, set)
	return nil
}
