package tokenizer

import (
	"fmt"
	"strings"

	"github.com/dlclark/regexp2/v2"
)

// word is a part of a text on its way to the model.
type word struct {
	text string
	head int // how many bytes come from the first character of the whole text
}

// splitter cuts words into smaller ones, and may change them.
type splitter func(words []word) ([]word, error)

// slice returns a part of a word.
func (w word) slice(from, to int) word {
	return word{w.text[from:to], min(max(w.head-from, 0), to-from)}
}

// mapped changes each part of a word by itself.
func (w word) mapped(change func(string) string) word {
	if w.head == 0 {
		return word{change(w.text), 0}
	}
	return word{change(w.text), len(change(w.text[:w.head]))}
}

// prefixed puts a text in front.
func (w word) prefixed(prefix string) word {
	if w.head > 0 {
		w.head += len(prefix)
	}
	return word{prefix + w.text, w.head}
}

// span is a part of a text that a pattern matches, or that lies between matches.
type span struct {
	from, to int
	match    bool
}

// matcher cuts a whole text into spans.
type matcher func(text string) ([]span, error)

// withGaps adds what lies before the span [from, to), and the span.
func withGaps(spans []span, from, to int) []span {
	done := 0
	if len(spans) > 0 {
		done = spans[len(spans)-1].to
	}
	if from > done {
		spans = append(spans, span{done, from, false})
	}
	return append(spans, span{from, to, true})
}

// withRest adds what lies after the last span.
func withRest(spans []span, text string) []span {
	done := 0
	if len(spans) > 0 {
		done = spans[len(spans)-1].to
	}
	if done < len(text) {
		spans = append(spans, span{done, len(text), false})
	}
	return spans
}

// expression matches a regular expression.
func expression(re *regexp2.Regexp) matcher {
	return func(text string) (spans []span, err error) {
		matches, err := re.FindAllStringIndex(text, -1)
		if err != nil {
			return nil, err
		}
		done := -1
		for _, m := range matches {
			if m[1] == done { // Oniguruma finds nothing empty after a match
				continue
			}
			spans, done = withGaps(spans, m[0], m[1]), m[1]
		}
		return withRest(spans, text), nil
	}
}

// literal matches a text as it is.
func literal(word string) matcher {
	return func(text string) (spans []span, err error) {
		for done := 0; ; {
			at := strings.Index(text[done:], word)
			if at < 0 {
				return withRest(spans, text), nil
			}
			spans = withGaps(spans, done+at, done+at+len(word))
			done += at + len(word)
		}
	}
}

// each matches each character of a kind by itself.
func each(is func(rune) bool) matcher {
	return func(text string) (spans []span, err error) {
		for at, r := range text {
			if is(r) {
				spans = withGaps(spans, at, at+len(string(r)))
			}
		}
		return withRest(spans, text), nil
	}
}

// runs matches the longest rows of characters of the same kind; 0 is matched by
// none.
func runs(kind func(rune) int) matcher {
	return func(text string) (spans []span, err error) {
		last, from := 0, 0
		for at, r := range text + "\x00" {
			k := 0
			if at < len(text) {
				k = kind(r)
			}
			if k == last && at < len(text) {
				continue
			}
			if last != 0 {
				spans = withGaps(spans, from, at)
			}
			last, from = k, at
		}
		return withRest(spans, text), nil
	}
}

// addSplit cuts words at the spans of a matcher.
func (b *builder) addSplit(behavior string, invert bool, find matcher) error {
	join, ok := behaviors[behavior]
	if !ok {
		return fmt.Errorf("a pre_tokenizer has the behavior %q, want Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", behavior)
	}
	b.recipe("split", behavior, invert)
	b.t.words = append(b.t.words, func(words []word) (out []word, err error) {
		for _, w := range words {
			spans, err := find(w.text)
			if err != nil {
				return nil, err
			}
			if invert {
				for i := range spans {
					spans[i].match = !spans[i].match
				}
			}
			for _, s := range join(spans) {
				if s.to > s.from {
					out = append(out, w.slice(s.from, s.to))
				}
			}
		}
		return out, nil
	})
	return nil
}

// behaviors say what becomes of spans.
var behaviors = map[string]func([]span) []span{
	"Isolated": func(spans []span) []span { return spans },
	"Removed": func(spans []span) (out []span) {
		for _, s := range spans {
			if !s.match {
				out = append(out, s)
			}
		}
		return out
	},
	"Contiguous": func(spans []span) (out []span) {
		for i, s := range spans {
			if i > 0 && s.match == spans[i-1].match {
				out[len(out)-1].to = s.to
			} else {
				out = append(out, s)
			}
		}
		return out
	},
	"MergedWithPrevious": func(spans []span) (out []span) {
		for i, s := range spans {
			if i > 0 && s.match && !spans[i-1].match {
				out[len(out)-1].to = s.to
			} else {
				out = append(out, s)
			}
		}
		return out
	},
	"MergedWithNext": func(spans []span) (out []span) {
		for i, s := range spans {
			if i > 0 && spans[i-1].match && !s.match {
				out[len(out)-1].to = s.to
			} else {
				out = append(out, s)
			}
		}
		return out
	},
}
