package progress

import (
	"strings"
	"unicode/utf8"
)

// field is a part of a line, in a colour or "".
type field struct{ text, colour string }

// The colours, as parameters of Select Graphic Rendition (ECMA-48).
const (
	cyan   = "36"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

const (
	gap         = 2  // columns between two fields
	leastBar    = 8  // columns
	reservedBar = 12 // columns of wide lines that fields leave
	mostBar     = 40
	wide        = 60
)

// layout makes a line of at most width columns of a bar, if there is a share to show and
// room for it, and of as many fields as fit; the first are the most important ones.
func (s style) layout(fields []field, share float64, width int) string {
	room := width
	if width >= wide && share >= 0 {
		room -= reservedBar + gap
	}
	used, shown := 0, []string{}
	for i, f := range fields {
		n := cells(f.text)
		if i > 0 {
			n += gap
		}
		if used+n > room {
			if i > 0 {
				break
			}
			f.text = string([]rune(f.text)[:max(0, width)])
		}
		used += n
		shown = append(shown, s.paint(f))
	}
	line := strings.Join(shown, strings.Repeat(" ", gap))
	if n := min(width-used-gap, mostBar); share >= 0 && n >= leastBar {
		line = s.bar(share, n) + strings.Repeat(" ", gap) + line
	}
	return line
}

func (s style) paint(f field) string {
	if !s.colour || f.colour == "" || f.text == "" {
		return f.text
	}
	return "\x1b[" + f.colour + "m" + f.text + "\x1b[0m"
}

// bar draws a share of n columns.
func (s style) bar(share float64, n int) string {
	done, left := "=", "-"
	if s.lines {
		done, left = "━", "─"
	}
	k := min(n, int(share*float64(n)))
	return s.paint(field{strings.Repeat(done, k), cyan}) + s.paint(field{strings.Repeat(left, n-k), dim})
}

// cells counts the columns of a line that this package made: one for each character
// outside the sequences of paint.
func cells(line string) int {
	n := 0
	for line != "" {
		if strings.HasPrefix(line, "\x1b") {
			_, line, _ = strings.Cut(line, "m")
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
		n++
	}
	return n
}
