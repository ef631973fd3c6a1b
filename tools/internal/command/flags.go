package command

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Flags returns the flag set of a tool, for [Parse]. Its usage is a line and the
// flags, on the standard output: it is written where it is asked for.
func Flags(name, line string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(os.Stdout)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage:", line)
		fs.PrintDefaults()
	}
	return fs
}

// usageError is a mistake in the arguments.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Misused returns the error of arguments that fs does not take, in one line.
func Misused(fs *flag.FlagSet, format string, args ...any) error {
	text := fs.Name() + ": " + fmt.Sprintf(format, args...)
	return &usageError{text + "; -help lists the flags"}
}

// Parse parses arguments, flags first. The usage is written for -help alone, with
// the error flag.ErrHelp; a mistake is an error of one line.
func Parse(fs *flag.FlagSet, args []string) error {
	usage, out := fs.Usage, fs.Output()
	fs.Usage = func() {}
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	fs.Usage = usage
	fs.SetOutput(out)
	if errors.Is(err, flag.ErrHelp) {
		usage()
		return err
	}
	if err != nil {
		text := err.Error()
		if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
			text = "there is no flag -" + name
			if near := nearest(fs, name); len(near) > 0 {
				text += ", but -" + strings.Join(near, ", -")
			}
		}
		return Misused(fs, "%s", text)
	}
	return checkOperands(fs, args)
}

// checkOperands reports flags among the operands, where package flag does not look.
func checkOperands(fs *flag.FlagSet, args []string) error {
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

// NoOperands is Parse for a tool that takes flags alone.
func NoOperands(fs *flag.FlagSet, args []string) error {
	err := Parse(fs, args)
	if err == nil && fs.NArg() > 0 {
		return Misused(fs, "unexpected argument %q", fs.Arg(0))
	}
	return err
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

// mostNear is how many flags are named at most in place of one that is not there.
const mostNear = 3

// nearest lists the flags that a name may stand for: those that hold it, or else
// those that differ in the fewest letters, if these are few.
func nearest(fs *flag.FlagSet, name string) []string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	name = plain(name)
	most := max(1, len(name)/3)
	distances := map[string]int{}
	var holding, close []string
	fs.VisitAll(func(f *flag.Flag) {
		other := plain(f.Name)
		if len(name) > 1 && strings.Contains(other, name) {
			holding = append(holding, f.Name)
		}
		if distances[f.Name] = distance(name, other); distances[f.Name] <= most {
			close = append(close, f.Name)
		}
	})
	if len(holding) == 0 {
		holding = close
	}
	slices.SortStableFunc(holding, func(a, b string) int {
		return cmp.Or(cmp.Compare(distances[a], distances[b]), cmp.Compare(a, b))
	})
	return holding[:min(mostNear, len(holding))]
}

// distance is Levenshtein's: the letters to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the letters of a so far, to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := above
			if a[i] != b[j] {
				replaced++
			}
			above = row[j+1]
			row[j+1] = min(replaced, above+1, row[j]+1)
		}
	}
	return row[len(b)]
}
