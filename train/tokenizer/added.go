package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken stands for a text as it is.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	SingleWord bool   `json:"single_word"` // only where no letter, digit or underscore is next to it
	Left       bool   `json:"lstrip"`      // takes the white space before it
	Right      bool   `json:"rstrip"`      // takes the white space after it
	Normalized bool   `json:"normalized"`  // is looked for after the normalizer
}

// addedTokens are looked for by their first byte and the lengths that begin with it,
// the longest first. Of different ones that a normalizer makes equal, the first counts;
// the tokenizers package draws one by chance.
type addedTokens struct {
	byContent map[string]addedToken
	lengths   map[byte][]int
	heads     string
}

func newAddedTokens(tokens []addedToken) addedTokens {
	a := addedTokens{byContent: map[string]addedToken{}, lengths: map[byte][]int{}}
	for _, t := range tokens {
		head := t.Content[0]
		if a.lengths[head] == nil {
			a.heads += string([]byte{head})
		}
		a.lengths[head] = append(a.lengths[head], len(t.Content))
		if _, twice := a.byContent[t.Content]; !twice {
			a.byContent[t.Content] = t
		}
	}
	for head, lengths := range a.lengths {
		slices.SortFunc(lengths, func(x, y int) int { return y - x })
		a.lengths[head] = slices.Compact(lengths)
	}
	return a
}

// section is an added token, or, when id is -1, the text between two.
type section struct {
	text string
	id   int32
}

// cut cuts a text at its added tokens.
func (a addedTokens) cut(text string) (sections []section) {
	if a.heads == "" {
		return append(sections, section{text, -1})
	}
	done := 0
	for at := 0; at < len(text); {
		next := a.index(text[at:])
		if next < 0 {
			break
		}
		at += next
		t, ok := a.match(text[at:])
		if !ok {
			at++
			continue
		}
		from, to := at, at+len(t.Content)
		at = to // of white space that a token takes after it, other tokens are found too
		if t.SingleWord && (endsWithWord(text[:from]) || startsWithWord(text[to:])) {
			continue
		}
		if t.Left {
			from = max(done, len(strings.TrimRightFunc(text[:from], unicode.IsSpace)))
		}
		if t.Right {
			to = len(text) - len(strings.TrimLeftFunc(text[to:], unicode.IsSpace))
		}
		if from > done {
			sections = append(sections, section{text[done:from], -1})
		}
		if to > from { // white space that is another's already makes no token
			sections = append(sections, section{id: t.ID})
		}
		done = to
	}
	if done < len(text) {
		sections = append(sections, section{text[done:], -1})
	}
	return sections
}

// index returns where the next token can begin.
func (a addedTokens) index(text string) int {
	if len(a.heads) == 1 {
		return strings.IndexByte(text, a.heads[0])
	}
	for i := range len(text) {
		if _, ok := a.lengths[text[i]]; ok {
			return i
		}
	}
	return -1
}

// match returns the longest token that text begins with.
func (a addedTokens) match(text string) (addedToken, bool) {
	for _, n := range a.lengths[text[0]] {
		if n <= len(text) {
			if t, ok := a.byContent[text[:n]]; ok {
				return t, true
			}
		}
	}
	return addedToken{}, false
}

func endsWithWord(text string) bool {
	r, _ := utf8.DecodeLastRuneInString(text)
	return text != "" && isWord(r)
}

func startsWithWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return text != "" && isWord(r)
}

// isWord is \w of Rust's regular expressions: Alphabetic, marks, decimal digits,
// connectors and joiners.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
