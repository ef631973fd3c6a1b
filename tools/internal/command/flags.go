package command

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Flags returns the flag set of a tool, for [Process.Parse].
func Flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.Usage = nil
	return fs
}

// UsageError returns the error of arguments that are not what a tool takes: its text.
func UsageError(text string) error { return &usageError{text} }

// usageError is a mistake in the arguments.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Misused returns the error of arguments that fs does not take, in one line.
func Misused(fs *flag.FlagSet, format string, args ...any) error {
	return UsageError(fs.Name() + ": " + fmt.Sprintf(format, args...) + "; -help lists the flags")
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
		if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
			text = "there is no flag -" + name
			var names []string
			fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
			if near := Nearest(names, name); len(near) > 0 {
				text += ", but -" + strings.Join(near, ", -")
			}
		}
		return Misused(fs, "%s", text)
	}
	return checkOperands(fs, p.Args)
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

// ParseFlags is Parse for a tool that takes flags alone.
func (p *Process) ParseFlags(fs *flag.FlagSet) error {
	err := p.Parse(fs)
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

// mostNear is how many names are listed at most in place of one that is not there.
const mostNear = 3

// Nearest lists the names that another may stand for: those that hold it, or else
// those that differ in the fewest letters, if these are few.
func Nearest(names []string, name string) []string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	name = plain(name)
	most := max(1, len(name)/3)
	distances := map[string]int{}
	var holding, close []string
	for _, n := range names {
		other := plain(n)
		if len(name) > 1 && strings.Contains(other, name) {
			holding = append(holding, n)
		}
		if distances[n] = distance(name, other); distances[n] <= most {
			close = append(close, n)
		}
	}
	if len(holding) == 0 {
		holding = close
	}
	slices.SortStableFunc(holding, func(a, b string) int {
		return cmp.Or(cmp.Compare(distances[a], distances[b]), cmp.Compare(a, b))
	})
	return holding[:min(mostNear, len(holding))]
}

// distance is Damerau's and Levenshtein's: the letters to insert, remove, replace or swap with
// the next one.
func distance(a, b string) int {
	var rows [3][]int // of the letters of a so far, and of one and two letters fewer, to each beginning of b
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	row, above, beyond := rows[0], rows[1], rows[2]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		row, above, beyond = beyond, row, above
		row[0] = i + 1
		for j := range len(b) {
			replaced := above[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], beyond[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
