package tokenizer

import (
	"errors"
	"strings"
)

// wordClass is \w of the expressions in a tokenizer.json, as part of a class.
const wordClass = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}`

// fromOniguruma rewrites an expression of a tokenizer.json, which Oniguruma reads
// there, where .NET's rules, those of regexp2, would take it for something else: a
// class inside a class adds to it, and \w has all marks. What has no counterpart is
// an error. That ^ and $ are those of lines is an option. looks reports whether a
// match depends on what stands around it, other than white space after it.
func fromOniguruma(expression string) (text string, looks bool, err error) {
	var out strings.Builder
	depth := 0 // of classes
	for i := 0; i < len(expression); i++ {
		rest := expression[i:]
		switch c := expression[i]; {
		case c == '\\' && len(rest) > 1:
			i++
			switch {
			case rest[1] == 'w' && depth > 0:
				out.WriteString(wordClass)
			case rest[1] == 'w':
				out.WriteString("[" + wordClass + "]")
			case strings.IndexByte("hHRXGK", rest[1]) >= 0:
				return "", false, errors.New(`\` + rest[1:2] + " is not supported")
			default:
				looks = looks || depth == 0 && strings.IndexByte("AbBzZ", rest[1]) >= 0
				out.WriteString(rest[:2])
			}
		case depth > 0 && strings.HasPrefix(rest, "[:"):
			return "", false, errors.New("a class such as [:alpha:] is not supported")
		case depth > 0 && strings.HasPrefix(rest, "&&"):
			return "", false, errors.New("an intersection of classes, &&, is not supported")
		case depth > 0 && strings.HasPrefix(rest, "[^"):
			return "", false, errors.New("a negated class inside a class is not supported")
		case depth > 0 && c == '[': // its characters are the outer one's
			depth++
		case c == '[':
			depth = 1
			out.WriteByte(c)
			if strings.HasPrefix(rest, "[^") {
				i++
				out.WriteByte('^')
			}
			if i+1 < len(expression) && expression[i+1] == ']' { // is one of its characters
				i++
				out.WriteString(`\]`)
			}
		case depth > 0 && c == ']':
			if depth--; depth == 0 {
				out.WriteByte(c)
			}
		default:
			around := c == '^' || c == '$' || strings.HasPrefix(rest, "(?=") || strings.HasPrefix(rest, "(?<") ||
				strings.HasPrefix(rest, "(?!") && !strings.HasPrefix(rest, `(?!\S)`)
			looks = looks || depth == 0 && around
			out.WriteByte(c)
		}
	}
	if depth > 0 {
		return "", false, errors.New("a class does not end")
	}
	return out.String(), looks, nil
}
