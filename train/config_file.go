package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// BaseConfig returns what [Configure] starts from: a preset, a JSON file on top of
// the defaults (one of both may be named), or the first preset. Where the file or
// the assignments set from, preset finetune takes the place of the defaults and of
// the first preset, unless it is a file of torch.save, which does not say its structure.
func BaseConfig(preset, file string, assignments []string) (Config, error) {
	c, _, err := baseConfig(preset, file, assignments)
	return c, err
}

// baseConfig also returns the fields that the file sets.
func baseConfig(preset, file string, assignments []string) (c Config, set map[string]bool, err error) {
	from := ""
	for _, a := range assignments {
		if value, ok := strings.CutPrefix(a, "from="); ok {
			from = value
		}
	}
	switch {
	case preset != "" && file != "":
		return c, nil, fmt.Errorf("train: preset %s and file %s are both places to start from: give one", preset, file)
	case file != "":
		return readConfig(file, tunes(from))
	case preset == "" && tunes(from):
		preset = "finetune"
	case preset == "":
		preset = presets[0].name
	}
	c, err = Preset(preset)
	return c, map[string]bool{}, err
}

// Configure puts a configuration together as command train does: [BaseConfig], below
// assignments as [Config.Override] takes them. With from, the structure of that
// model stands between the two, see [Config.ConfigureFrom]; of a file of torch.save it
// is that of the configuration.
func Configure(preset, file string, assignments []string) (Config, error) {
	c, set, err := baseConfig(preset, file, assignments)
	if err != nil {
		return c, err
	}
	if err := c.overrideAll(assignments, set); err != nil {
		return c, err
	}
	if source := c.source(); isTorch(source) {
		if err := checkTorch(source); err != nil {
			return c, err
		}
	} else if c.From != "" {
		if err := c.startFrom(source, set, assignments); err != nil {
			return c, err
		}
	}
	if preset == "finetune" && c.From == "" {
		return c, errors.New("train: preset finetune is for a model that is there: name it with from")
	}
	return c, c.Validate()
}

// startFrom puts the structure of the model at path below the assignments. Neither they
// nor the fields that a file set may say something else.
func (c *Config) startFrom(path string, set map[string]bool, assignments []string) error {
	asked := *c
	if err := c.ConfigureFrom(path); err != nil {
		return err
	}
	given := keys(assignments)
	maps.Copy(given, set)
	if err := asked.checkStructure(*c, given, path); err != nil {
		return err
	}
	source := *c
	if err := c.overrideAll(assignments, set); err != nil {
		return err
	}
	return c.checkPositions(source, path)
}

// ReadConfig reads a JSON file on top of the defaults, those for fine-tuning where
// it sets from, and validates the result. An unknown or repeated key, a value of the
// wrong type and an impossible value are errors that name the field; errors of
// syntax name line and column.
func ReadConfig(path string) (Config, error) {
	c, _, err := readConfig(path, false)
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fault.Unsupportedf("%w (in %s)", err, path)
	}
	return c, nil
}

// readConfig also returns the fields that the file sets.
func readConfig(path string, tuning bool) (c Config, set map[string]bool, err error) {
	data, err := input.Read(path, input.MaxSmall)
	if err != nil {
		return c, nil, fmt.Errorf("train: config: %w", err)
	}
	c = DefaultConfig()
	if set, err = c.parse(data); err == nil && (tuning || tunes(c.From)) {
		c = finetune()
		set, err = c.parse(data)
	}
	if err != nil {
		return Config{}, nil, fmt.Errorf("train: config %s: %w", path, err)
	}
	return c, set, nil
}

// parse sets the fields that a JSON object names, and returns which. It is stricter than
// json.Unmarshal, which takes Batch_Size for batch_size, the last of two equal
// keys, null for "keep the default", and an array of any length for [Betas].
func (c *Config) parse(data []byte) (set map[string]bool, err error) {
	set, err = c.set(data)
	return set, fault.Unsupported(err)
}

func (c *Config) set(data []byte) (set map[string]bool, err error) {
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, input.Explain(data, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("starts with %.20s, want a JSON object", bytes.TrimSpace(data))
	}
	before := *c
	set = map[string]bool{}
	for dec.More() { // the syntax is right: Token and Decode can't fail
		token, _ := dec.Token()
		key := token.(string)
		at := input.Place(data, dec.InputOffset()-1)
		field, err := c.field(key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if set[key] {
			return nil, fmt.Errorf("%s: %s is set twice", at, key)
		}
		set[key] = true
		var raw json.RawMessage
		dec.Decode(&raw)
		if err := json.Unmarshal(raw, field); err != nil || string(raw) == "null" {
			return nil, fmt.Errorf("%s: %s is %s, want %s", at, key, raw, kind(field))
		}
	}
	if !set["warmup_iters"] {
		c.keepWarmupShare(before.TotalSteps)
	}
	c.followRule(before, set)
	return set, nil
}

// keepWarmupShare makes the warm-up the part of TotalSteps that it was of before, but
// no longer than the schedule.
func (c *Config) keepWarmupShare(before int64) {
	if c.TotalSteps > 0 && before > 0 && c.TotalSteps != before {
		share := int64(float64(c.WarmupIters) * float64(c.TotalSteps) / float64(before))
		c.WarmupIters = min(share, c.lastIter())
	}
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
	case *uint64, *uint32:
		return "an integer that is not negative"
	case *Betas:
		return "two numbers"
	case *Custom:
		return "a JSON object"
	case *ClipNorm:
		return `a number or "none"`
	default:
		return "a number"
	}
}

// UnmarshalJSON accepts an array of exactly two numbers.
func (b *Betas) UnmarshalJSON(data []byte) error {
	var list []*float64
	if json.Unmarshal(data, &list) != nil || len(list) != len(b) || list[0] == nil || list[1] == nil {
		return fmt.Errorf("train: betas is %s, want two numbers", data)
	}
	*b = Betas{*list[0], *list[1]}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (n ClipNorm) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(n), 1) {
		return []byte(`"none"`), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON accepts a number, or "none" for no clipping.
func (n *ClipNorm) UnmarshalJSON(data []byte) error {
	if string(data) == `"none"` {
		*n = ClipNorm(math.Inf(1))
		return nil
	}
	if json.Unmarshal(data, (*float64)(n)) != nil {
		return fmt.Errorf(`train: grad_clip_norm is %s, want a number or "none"`, data)
	}
	return nil
}

// String returns the number, or none.
func (n ClipNorm) String() string {
	if math.IsInf(float64(n), 1) {
		return "none"
	}
	return fmt.Sprint(float64(n))
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

// keys returns the fields that assignments set.
func keys(assignments []string) map[string]bool {
	set := map[string]bool{}
	for _, a := range assignments {
		key, _, _ := strings.Cut(a, "=")
		set[key] = true
	}
	return set
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
	case *uint32:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 32)
		*p = uint32(n)
	case *float64:
		*p, err = strconv.ParseFloat(value, 64)
	case *Betas:
		list := value
		if !strings.HasPrefix(list, "[") {
			list = "[" + list + "]"
		}
		err = p.UnmarshalJSON([]byte(list))
	case *Custom:
		err = p.UnmarshalJSON([]byte(value))
	case *ClipNorm:
		if value == "none" {
			value = "+Inf"
		}
		var x float64
		x, err = strconv.ParseFloat(value, 64)
		*p = ClipNorm(x)
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
// returns the assignments that fs.Parse will find, in their order, for [Configure];
// defaults are what the usage text shows:
//
//	assignments := train.ConfigFlags(flag.CommandLine, train.DefaultConfig())
//	file := flag.String("config", "", "configuration file")
//	flag.Parse()
//	cfg, err := train.Configure("", *file, *assignments)
func ConfigFlags(fs *flag.FlagSet, defaults Config) *[]string {
	assignments := new([]string)
	for _, f := range fields {
		fs.Var(&fieldFlag{key: f.name, initial: f.get(defaults), assignments: assignments}, f.name, f.usage)
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
		field, _ := scratch.field(f.key)
		return fmt.Errorf("want %s", kind(field)) // package flag says of what
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
func (c Config) Write(path string) error { return c.write(output.OS{}, path) }

func (c Config) write(files output.System, path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("train: config %s: %w", path, err)
	}
	if err := output.Replace(files, path, append(data, '\n')); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}
