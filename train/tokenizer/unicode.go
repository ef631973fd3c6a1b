package tokenizer

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/rangetable"
)

// The tokenizers package has categories of old editions of Unicode for some stages;
// what is assigned since is of none there.
var (
	unicode8 = rangetable.Assigned("8.0.0")
	unicode9 = rangetable.Assigned("9.0.0")
)

// isPunctuation reports ASCII's punctuation and symbols, and Unicode 8's
// punctuation, of which two are symbols and marks since.
func isPunctuation(r rune) bool {
	if r < 0x80 {
		return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
	}
	return unicode.IsPunct(r) && unicode.Is(unicode8, r) || r == 0x166D || r == 0x111C9
}

// isAccent reports the marks of Unicode 9, of which some are letters since.
func isAccent(r rune) bool {
	return unicode.IsMark(r) && unicode.Is(unicode9, r) && r != 0x111C9 || r == 0x1CF2 || r == 0x1CF3
}

// isNonspacing reports the nonspacing marks of Unicode 8.
func isNonspacing(r rune) bool {
	if slices.Contains([]rune{0x1885, 0x1886, 0xA9BD, 0x111C9}, r) { // are since
		return false
	}
	return unicode.Is(unicode.Mn, r) && unicode.Is(unicode8, r) || r == 0x1734
}

// without returns a text without characters of a kind.
func without(is func(rune) bool) func(string) string {
	return func(text string) string {
		return strings.Map(func(r rune) rune {
			if is(r) {
				return -1
			}
			return r
		}, text)
	}
}
