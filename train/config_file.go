package train

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// keepWarmupShare makes the warm-up the part of TotalSteps that it was of before, but
// no longer than the schedule.
func (c *Config) keepWarmupShare(before int64) {
	if c.TotalSteps > 0 && before > 0 && c.TotalSteps != before {
		share := int64(float64(c.WarmupIters) * float64(c.TotalSteps) / float64(before))
		c.WarmupIters = max(0, min(share, c.lastIter()))
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

// Override sets one field from text of the form key=value, with the key of the
// file: "batch_size=64", "betas=0.9,0.99", "data=". Only the type is
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

// ConfigFlags registers one flag per field on fs, named as in a file, and
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
