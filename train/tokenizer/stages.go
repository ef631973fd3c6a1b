package tokenizer

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"
)

// stage is one normalizer, pre-tokenizer or decoder of a tokenizer.json; which
// fields it has depends on its type.
type stage struct {
	Type          string   `json:"type"`
	Normalizers   []stage  `json:"normalizers,omitempty"`       // of Sequence
	Pretokenizers []stage  `json:"pretokenizers,omitempty"`     // of Sequence
	Decoders      []stage  `json:"decoders,omitempty"`          // of Sequence
	PrefixSpace   *bool    `json:"add_prefix_space,omitempty"`  // of ByteLevel and Metaspace
	UseRegex      *bool    `json:"use_regex,omitempty"`         // of ByteLevel
	TrimOffsets   *bool    `json:"trim_offsets,omitempty"`      // of ByteLevel; concerns no ids
	Individual    bool     `json:"individual_digits,omitempty"` // of Digits
	Pattern       *pattern `json:"pattern,omitempty"`           // of Split and Replace
	Behavior      string   `json:"behavior,omitempty"`          // of Split and Punctuation
	Invert        bool     `json:"invert,omitempty"`            // of Split
	Content       string   `json:"content,omitempty"`           // of Replace and Strip
	Prepend       string   `json:"prepend,omitempty"`           // of Prepend
	Left          bool     `json:"strip_left,omitempty"`        // of Strip
	Right         bool     `json:"strip_right,omitempty"`       // of Strip
	Replacement   string   `json:"replacement,omitempty"`       // of Metaspace
	Scheme        string   `json:"prepend_scheme,omitempty"`    // of Metaspace
	Split         *bool    `json:"split,omitempty"`             // of Metaspace
	Delimiter     string   `json:"delimiter,omitempty"`         // of CharDelimiterSplit
	Suffix        string   `json:"suffix,omitempty"`            // of BPEDecoder
}

type pattern struct {
	Regex  *string `json:",omitempty"`
	String *string `json:",omitempty"`
}

// normalizer changes a text. Only where prepend is set it may put something in
// front of it.
type normalizer func(text string, prepend bool) (string, error)

// addNormalizer adds a normalizer and those inside it.
func (b *builder) addNormalizer(s stage) error {
	simple := func(f func(string) string) {
		b.recipe("normalizer", s.Type)
		b.t.normalizer = append(b.t.normalizer, func(text string, _ bool) (string, error) { return f(text), nil })
	}
	switch s.Type {
	case "Sequence":
		for _, part := range s.Normalizers {
			if err := b.addNormalizer(part); err != nil {
				return err
			}
		}
	case "NFC":
		simple(norm.NFC.String)
	case "NFD":
		simple(norm.NFD.String)
	case "NFKC":
		simple(norm.NFKC.String)
	case "NFKD":
		simple(norm.NFKD.String)
	case "Lowercase":
		simple(lower)
	case "StripAccents":
		simple(func(text string) string {
			return strings.Map(func(r rune) rune {
				if unicode.Is(unicode.M, r) {
					return -1
				}
				return r
			}, text)
		})
	case "ByteLevel":
		simple(toLetters)
		b.inLetters = true
	case "Strip":
		b.recipe("strip", s.Left, s.Right)
		b.whole = true
		b.t.normalizer = append(b.t.normalizer, func(text string, _ bool) (string, error) { return strip(text, s.Left, s.Right), nil })
	case "Prepend":
		b.recipe("prepend", s.Prepend)
		b.t.normalizer = append(b.t.normalizer, func(text string, prepend bool) (string, error) {
			if prepend && text != "" {
				text = s.Prepend + text
			}
			return text, nil
		})
	case "Replace":
		return b.addReplace(s)
	default:
		return fmt.Errorf("a normalizer of type %q is not supported", s.Type)
	}
	return nil
}

func strip(text string, left, right bool) string {
	if left {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	if right {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	return text
}

// lower is Lowercase of each character alone, which one of them makes longer.
func lower(text string) string {
	return strings.Map(unicode.ToLower, strings.ReplaceAll(text, "\u0130", "i\u0307"))
}

func (b *builder) addReplace(s stage) error {
	find, err := b.compile(s)
	if err != nil {
		return err
	}
	b.recipe("replace", s.Content)
	b.whole = b.whole || s.Pattern.String == nil || len(*s.Pattern.String) > 1
	b.t.normalizer = append(b.t.normalizer, func(text string, _ bool) (string, error) {
		spans, err := find(text)
		var out strings.Builder
		for _, m := range spans {
			if m.match {
				out.WriteString(s.Content)
			} else {
				out.WriteString(text[m.from:m.to])
			}
		}
		return out.String(), err
	})
	return nil
}

// gpt2Words is how ByteLevel cuts a text unless told otherwise.
const gpt2Words = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// patternTimeout ends patterns of a hostile file, which could take for ever.
const patternTimeout = 10 * time.Second

// addWords adds a pre-tokenizer and those inside it.
func (b *builder) addWords(s stage) error {
	switch s.Type {
	case "Sequence":
		for _, part := range s.Pretokenizers {
			if err := b.addWords(part); err != nil {
				return err
			}
		}
	case "ByteLevel":
		return b.addByteLevel(s)
	case "Metaspace":
		return b.addMetaspace(s)
	case "Split":
		matches, err := b.compile(s)
		if err != nil {
			return err
		}
		return b.addSplit(s.Behavior, s.Invert, matches)
	case "Digits":
		behavior := "Contiguous"
		if s.Individual {
			behavior = "Isolated"
		}
		b.recipe("characters", "N")
		return b.addSplit(behavior, false, each(func(r rune) bool { return unicode.Is(unicode.N, r) }))
	case "Punctuation":
		b.recipe("characters", "P")
		return b.addSplit(cmp.Or(s.Behavior, "Isolated"), false, each(isPunctuation))
	case "Whitespace":
		b.recipe("Whitespace")
		return b.addSplit("Removed", true, runs(func(r rune) int {
			switch {
			case isWord(r):
				return 1
			case unicode.IsSpace(r):
				return 0
			}
			return 2
		}))
	case "WhitespaceSplit":
		b.recipe("characters", "space")
		return b.addSplit("Removed", false, each(unicode.IsSpace))
	case "CharDelimiterSplit":
		b.recipe("characters", s.Delimiter)
		return b.addSplit("Removed", false, each(func(r rune) bool { return string(r) == s.Delimiter }))
	default:
		return fmt.Errorf("a pre_tokenizer of type %q is not supported", s.Type)
	}
	return nil
}

// isPunctuation reports ASCII's punctuation and symbols, and Unicode's punctuation.
func isPunctuation(r rune) bool {
	return r < 0x80 && (r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~') || unicode.IsPunct(r)
}

// yes is the value of an option that is on unless the file says otherwise.
func yes(option *bool) bool { return option == nil || *option }

func (b *builder) addByteLevel(s stage) error {
	if yes(s.PrefixSpace) {
		b.recipe("prefix space")
		b.prefix = true
		b.t.words = append(b.t.words, func(words []string, _ bool) ([]string, error) {
			for i, word := range words {
				if !strings.HasPrefix(word, " ") {
					words[i] = " " + word
				}
			}
			return words, nil
		})
	}
	if yes(s.UseRegex) {
		matches, err := b.compile(stage{Type: s.Type, Pattern: &pattern{Regex: new(gpt2Words)}})
		if err != nil {
			return err
		}
		if err := b.addSplit("Isolated", false, matches); err != nil {
			return err
		}
	}
	b.recipe("letters")
	b.inLetters = true
	b.lastLetters = len(b.t.words)
	b.t.words = append(b.t.words, func(words []string, _ bool) ([]string, error) {
		for i, word := range words {
			words[i] = toLetters(word)
		}
		return words, nil
	})
	return nil
}

func (b *builder) addMetaspace(s stage) error {
	mark := cmp.Or(s.Replacement, "▁")
	scheme := s.Scheme
	if scheme == "" { // older files
		scheme = map[bool]string{true: "always", false: "never"}[yes(s.PrefixSpace)]
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return fmt.Errorf("a Metaspace pre_tokenizer has the prepend_scheme %q, want always, first or never", scheme)
	}
	b.recipe("metaspace", mark, scheme)
	b.prefix = b.prefix || scheme != "never"
	b.t.words = append(b.t.words, func(words []string, first bool) ([]string, error) {
		for i, word := range words {
			word = strings.ReplaceAll(word, " ", mark)
			if (scheme == "always" || scheme == "first" && first && i == 0) && !strings.HasPrefix(word, mark) {
				word = mark + word
			}
			words[i] = word
		}
		return words, nil
	})
	if !yes(s.Split) {
		return nil
	}
	matches, err := b.compile(stage{Type: s.Type, Pattern: &pattern{String: &mark}})
	if err != nil {
		return err
	}
	return b.addSplit("MergedWithNext", false, matches)
}

// compile returns the matcher of a stage's pattern.
func (b *builder) compile(s stage) (matcher, error) {
	switch {
	case s.Pattern != nil && s.Pattern.Regex != nil:
		text, looks, err := fromOniguruma(*s.Pattern.Regex)
		var re *regexp2.Regexp
		if err == nil {
			re, err = regexp2.Compile(text, regexp2.Multiline)
		}
		if err != nil {
			return nil, fmt.Errorf("the pattern %.200q of a stage of type %q is not supported: %w", *s.Pattern.Regex, s.Type, err)
		}
		re.MatchTimeout = patternTimeout
		b.whole = b.whole || looks
		b.recipe("expression", *s.Pattern.Regex)
		return expression(re), nil
	case s.Pattern != nil && s.Pattern.String != nil && *s.Pattern.String != "":
		b.recipe("literal", *s.Pattern.String)
		return literal(*s.Pattern.String), nil
	}
	return nil, fmt.Errorf("a stage of type %q has no pattern", s.Type)
}
