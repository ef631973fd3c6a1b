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
	Normalizers   []stage  `json:"normalizers,omitempty"`          // of Sequence
	Pretokenizers []stage  `json:"pretokenizers,omitempty"`        // of Sequence
	Decoders      []stage  `json:"decoders,omitempty"`             // of Sequence
	PrefixSpace   *bool    `json:"add_prefix_space,omitempty"`     // of ByteLevel and Metaspace
	UseRegex      *bool    `json:"use_regex,omitempty"`            // of ByteLevel
	TrimOffsets   *bool    `json:"trim_offsets,omitempty"`         // of ByteLevel; concerns no ids
	Individual    bool     `json:"individual_digits,omitempty"`    // of Digits
	Pattern       *pattern `json:"pattern,omitempty"`              // of Split and Replace
	Behavior      string   `json:"behavior,omitempty"`             // of Split and Punctuation
	Invert        bool     `json:"invert,omitempty"`               // of Split
	Content       string   `json:"content,omitempty"`              // of Replace and Strip
	Prepend       string   `json:"prepend,omitempty"`              // of Prepend
	Left          bool     `json:"strip_left,omitempty"`           // of Strip
	Right         bool     `json:"strip_right,omitempty"`          // of Strip
	Replacement   string   `json:"replacement,omitempty"`          // of Metaspace
	Scheme        string   `json:"prepend_scheme,omitempty"`       // of Metaspace
	Split         *bool    `json:"split,omitempty"`                // of Metaspace
	Delimiter     string   `json:"delimiter,omitempty"`            // of CharDelimiterSplit
	Clean         *bool    `json:"clean_text,omitempty"`           // of BertNormalizer
	Chinese       *bool    `json:"handle_chinese_chars,omitempty"` // of BertNormalizer
	Accents       *bool    `json:"strip_accents,omitempty"`        // of BertNormalizer
	Lower         *bool    `json:"lowercase,omitempty"`            // of BertNormalizer
	Suffix        string   `json:"suffix,omitempty"`               // of BPEDecoder
}

type pattern struct {
	Regex  *string `json:",omitempty"`
	String *string `json:",omitempty"`
}

// normalizer changes a text. Only where prepend is set it may put something in
// front of it.
type normalizer func(text word, prepend bool) (word, error)

// addNormalizer adds a normalizer and those inside it.
func (b *builder) addNormalizer(s stage) error {
	simple := func(f func(string) string) {
		b.recipe("normalizer", s.Type)
		b.t.normalizer = append(b.t.normalizer, func(text word, _ bool) (word, error) { return text.mapped(f), nil })
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
		simple(without(isAccent))
	case "BertNormalizer":
		b.addBertNormalizer(s)
	case "ByteLevel":
		simple(toLetters)
		b.inLetters = true
	case "Strip":
		b.recipe("strip", s.Left, s.Right)
		b.whole = true
		b.t.normalizer = append(b.t.normalizer, func(text word, _ bool) (word, error) { return strip(text, s.Left, s.Right), nil })
	case "Prepend":
		b.recipe("prepend", s.Prepend)
		b.t.normalizer = append(b.t.normalizer, func(text word, prepend bool) (word, error) {
			if prepend && text.text != "" {
				text = text.prefixed(s.Prepend)
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

func strip(text word, left, right bool) word {
	from, to := 0, len(text.text)
	if left {
		from = to - len(strings.TrimLeftFunc(text.text, unicode.IsSpace))
	}
	if right {
		to = max(from, len(strings.TrimRightFunc(text.text, unicode.IsSpace)))
	}
	return text.slice(from, to)
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
	b.t.normalizer = append(b.t.normalizer, func(text word, _ bool) (word, error) {
		spans, err := find(text.text)
		var out strings.Builder
		head := 0
		for _, m := range spans {
			if m.match {
				out.WriteString(s.Content)
			} else {
				out.WriteString(text.text[m.from:m.to])
			}
			switch { // what replaces a text comes from its last character
			case m.match && text.head > 0 && m.to <= text.head:
				head += len(s.Content)
			case !m.match && m.from < text.head:
				head += min(m.to, text.head) - m.from
			}
		}
		return word{out.String(), head}, err
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
	case "BertPreTokenizer":
		if err := b.addWords(stage{Type: "WhitespaceSplit"}); err != nil {
			return err
		}
		return b.addWords(stage{Type: "Punctuation"})
	case "CharDelimiterSplit":
		b.recipe("characters", s.Delimiter)
		return b.addSplit("Removed", false, each(func(r rune) bool { return string(r) == s.Delimiter }))
	default:
		return fmt.Errorf("a pre_tokenizer of type %q is not supported", s.Type)
	}
	return nil
}

// yes is the value of an option that is on unless the file says otherwise.
func yes(option *bool) bool { return option == nil || *option }

func (b *builder) addByteLevel(s stage) error {
	if yes(s.PrefixSpace) {
		b.recipe("prefix space")
		b.prefix = true
		b.t.words = append(b.t.words, func(words []word) ([]word, error) {
			for i, w := range words {
				if !strings.HasPrefix(w.text, " ") {
					words[i] = w.prefixed(" ")
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
	b.t.words = append(b.t.words, func(words []word) ([]word, error) {
		for i, w := range words {
			words[i] = w.mapped(toLetters)
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
	marked := replacing(" ", mark)
	b.t.words = append(b.t.words, func(words []word) ([]word, error) {
		for i, w := range words {
			w = w.mapped(marked)
			if (scheme == "always" || scheme == "first" && w.head > 0) && !strings.HasPrefix(w.text, mark) {
				w = w.prefixed(mark)
			}
			words[i] = w
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
			re, err = regexp2.Compile(text, regexp2.None)
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
		b.whole = b.whole || crosses(*s.Pattern.String)
		return literal(*s.Pattern.String), nil
	}
	return nil, fmt.Errorf("a stage of type %q has no pattern", s.Type)
}
