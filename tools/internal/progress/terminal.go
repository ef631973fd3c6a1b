package progress

import (
	"cmp"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// terminal is where a display writes.
type terminal struct {
	io.Writer
	width func() int // in columns; nil where there is no live line
	style style
}

func (t terminal) live() bool { return t.width != nil }

// style is what a terminal can show.
type style struct {
	colour bool
	lines  bool // the box-drawing characters, each one column wide
}

// terminalOf looks what w is. See https://no-color.org and https://bixense.com/clicolors
// for the variables.
func terminalOf(w io.Writer) terminal {
	t := terminal{Writer: w}
	f := terminalFile(w)
	kind := os.Getenv("TERM")
	if f == nil || kind == "dumb" || kind == "" && runtime.GOOS != "windows" || !obeys(f) {
		return t
	}
	t.width = func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width < 1 {
			return 80
		}
		return width
	}
	t.style.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("CLICOLOR") != "0"
	t.style.lines = runtime.GOOS == "windows" || drawsLines(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return t
}

// terminalFile is w if that is a terminal of any kind, else nil.
func terminalFile(w io.Writer) *os.File {
	if under, ok := w.(interface{ Unwrap() io.Writer }); ok {
		w = under.Unwrap()
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// Printable returns w, or if that is a terminal what writes text there of whole characters that it shows and does not obey.
func Printable(w io.Writer) io.Writer {
	if terminalFile(w) == nil {
		return w
	}
	return printable{w}
}

type printable struct{ io.Writer }

// Write implements io.Writer.
func (p printable) Write(text []byte) (int, error) {
	if _, err := io.WriteString(p.Writer, command.Printable(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// drawsLines tells whether a locale has the characters of lines: in those of East Asia
// they may be two columns wide.
func drawsLines(locale string) bool {
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	if len(locale) > 2 {
		switch locale[:2] {
		case "zh", "ja", "ko":
			return false
		}
	}
	return strings.Contains(locale, "utf8")
}
