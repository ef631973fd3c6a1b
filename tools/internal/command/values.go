package command

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
)

// Values lists what completes a value: words, each with a tab and a description
// behind it or without, and whether the files that are there are meant too.
type Values func() (words []string, files bool)

// list is empty where nothing is known.
func (v Values) list() (words []string, files bool) {
	if v == nil {
		return nil, false
	}
	return v()
}

// Words are values of a fixed list.
func Words(words ...string) Values {
	return func() ([]string, bool) { return words, false }
}

// OrFiles are words of a list and files.
func OrFiles(words ...string) Values {
	return func() ([]string, bool) { return words, true }
}

// Runs are the folders of runs in the usual place, and files.
func Runs() ([]string, bool) {
	configs, _ := filepath.Glob("checkpoints/*/config.json")
	for i, c := range configs {
		configs[i] = filepath.Dir(c)
	}
	return configs, true
}

// Complete lists what begins with the last word of a command's arguments and may stand in
// its place, with descriptions as [Values] has them, and whether files may. A value
// behind a flag and = is without these, which shells put before it.
func (c *Command) Complete(before []string, last string) (words []string, files bool) {
	words, files = c.candidates(before, last)
	if strings.HasPrefix(last, "-") && strings.Contains(last, "=") {
		_, last, _ = strings.Cut(last, "=")
	}
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, last) }), files
}

func (c *Command) candidates(before []string, last string) (words []string, files bool) {
	fs := c.Flags()
	named, operands := flagBefore(fs, before)
	name, _, assigned := strings.Cut(strings.TrimLeft(last, "-"), "=")
	switch {
	case operands && c.Operands != nil: // else a shell has taken a value with spaces for several
		return c.Operands.list()
	case named != nil:
		return c.values(named).list()
	case strings.HasPrefix(last, "-") && assigned:
		if f := fs.Lookup(name); f != nil {
			return c.values(f).list()
		}
		return nil, false
	case strings.HasPrefix(last, "-"):
		dashes := last[:len(last)-len(strings.TrimLeft(last, "-"))]
		fs.VisitAll(func(f *flag.Flag) {
			_, usage := flag.UnquoteUsage(f)
			usage, _, _ = strings.Cut(usage, "\n")
			words = append(words, dashes+f.Name+"\t"+usage)
		})
		return append(words, dashes+"help\ttell about the command"), false
	}
	return c.Operands.list()
}

func (c *Command) values(f *flag.Flag) Values {
	if IsBool(f) {
		return Words("true", "false")
	}
	return c.Values[f.Name]
}

// flagBefore returns the flag that the next argument is the value of, and whether an
// operand is there, behind which all are.
func flagBefore(fs *flag.FlagSet, args []string) (named *flag.Flag, operands bool) {
	for _, arg := range args {
		if named != nil {
			named = nil
			continue
		}
		if arg == "--" || !strings.HasPrefix(arg, "-") || arg == "-" {
			operands = true
			continue
		}
		name, _, assigned := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if f := fs.Lookup(name); f != nil && !assigned && !IsBool(f) {
			named = f
		}
	}
	return named, operands
}
