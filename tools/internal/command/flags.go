package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lemnos-ml/lemnos/internal/near"
)

// Flags returns the flag set of a tool, for [Process.Parse].
func Flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.Usage = nil
	return fs
}

// Mistaken makes an error one of the arguments, with the status [Usage]; nil stays nil.
func Mistaken(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// usageError is a mistake in the arguments.
type usageError struct{ error }

// Unwrap implements errors.Is.
func (e *usageError) Unwrap() error { return e.error }

// Misused returns the error of arguments that fs does not take, in one line.
func Misused(fs *flag.FlagSet, format string, args ...any) error {
	return Mistaken(fmt.Errorf("%s: %w; -help lists the flags", fs.Name(), fmt.Errorf(format, args...)))
}

// Parse parses the process's arguments, flags first. For -help it calls the set's Usage,
// or else writes the help, and returns flag.ErrHelp; a mistake is an error of one line.
func (p *Process) Parse(fs *flag.FlagSet) error {
	usage := fs.Usage
	fs.Usage = func() {}
	fs.SetOutput(io.Discard)
	err := fs.Parse(p.Args)
	if errors.Is(err, flag.ErrHelp) {
		if usage != nil {
			usage()
		} else {
			p.Help(p.Stdout, fs)
		}
		return err
	}
	if err != nil {
		text := err.Error()
		if m := unparsed.FindStringSubmatch(text); m != nil {
			text = m[1] + wanted(fs.Lookup(m[2]))
		}
		if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
			text = "there is no flag -" + name
			var names []string
			fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
			if near := near.Names(names, name); len(near) > 0 {
				text += ", but -" + strings.Join(near, ", -")
			}
		}
		return Misused(fs, "%s", text)
	}
	return checkOperands(fs, p.Args)
}

// unparsed is package flag's error of a value that is not of the flag's type.
var unparsed = regexp.MustCompile(`^(.* -([^ ]+): )parse error$`)

// wanted says what the value of a flag is to be.
func wanted(f *flag.Flag) string {
	if v, ok := f.Value.(flag.Getter); ok {
		switch v.Get().(type) {
		case bool:
			return "want true or false"
		case int, int64:
			return "want an integer"
		case uint, uint64:
			return "want an integer that is not negative"
		case float64:
			return "want a number"
		case time.Duration:
			return "want a time, such as 90s"
		}
	}
	return "parse error"
}

// checkOperands reports flags among the operands, where package flag does not look.
func checkOperands(fs *flag.FlagSet, args []string) error {
	if slices.Contains(fs.Args(), "") { // of a variable that is not set, most likely: no file has that name
		return Misused(fs, "an argument is empty")
	}
	first := len(args) - fs.NArg()
	if first == len(args) || first > 0 && args[first-1] == "--" {
		return nil
	}
	if first > 0 {
		name := strings.TrimLeft(args[first-1], "-")
		if f := fs.Lookup(name); f != nil && name != args[first-1] && IsBool(f) && isTruth(args[first]) {
			return Misused(fs, "-%s %s is two arguments: write -%[1]s=%[2]s", name, args[first])
		}
	}
	for _, arg := range args[first:] {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && fs.Lookup(name) != nil {
			return Misused(fs, "%s stands after %s: flags come first", arg, args[first])
		}
	}
	return nil
}

// ParseFlags is Parse for a tool that takes flags alone.
func (p *Process) ParseFlags(fs *flag.FlagSet) error { return p.ParseOperands(fs, 0, 0, "") }

// ParseOperands is Parse for a tool that takes from least to most operands, which are what.
func (p *Process) ParseOperands(fs *flag.FlagSet, least, most int, what string) error {
	err := p.Parse(fs)
	switch {
	case err != nil:
		return err
	case fs.NArg() < least:
		return Misused(fs, "name %s", what)
	case fs.NArg() > most:
		return Misused(fs, "unexpected argument %q", fs.Arg(most))
	}
	return nil
}

// IsBool reports whether a flag may stand without a value.
func IsBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func isTruth(text string) bool {
	_, err := strconv.ParseBool(text)
	return err == nil
}
