package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// addBertNormalizer adds what BERT does to a text: control characters go, white
// space becomes spaces, ideographs stand alone, accents go, and case.
func (b *builder) addBertNormalizer(s stage) {
	accents := s.Accents == nil && yes(s.Lower) || s.Accents != nil && *s.Accents
	b.recipe(s.Type, yes(s.Clean), yes(s.Chinese), accents, yes(s.Lower))
	add := func(on bool, change func(string) string) {
		if on {
			b.t.normalizer = append(b.t.normalizer, func(text word, _ bool) (word, error) { return text.mapped(change), nil })
		}
	}
	add(yes(s.Clean), func(text string) string { return strings.Map(bertClean, text) })
	add(yes(s.Chinese), bertChinese)
	add(accents, func(text string) string { return without(isNonspacing)(norm.NFD.String(text)) })
	add(yes(s.Lower), lower)
}

// bertClean returns a character, a space for white space, or -1 for nothing.
func bertClean(r rune) rune {
	switch {
	case unicode.IsSpace(r) && r != '\v' && r != '\f' && r != '\u0085': // those are control characters
		return ' '
	case r == unicode.ReplacementChar || unicode.Is(unicode.C, r) && unicode.Is(unicode8, r):
		return -1
	}
	return r
}

// bertChinese puts spaces around ideographs.
func bertChinese(text string) string {
	var out strings.Builder
	for _, r := range text {
		if unicode.Is(bertIdeographs, r) {
			out.WriteString(" " + string(r) + " ")
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// bertIdeographs are those of the blocks that BERT takes for Chinese.
var bertIdeographs = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x3400, Hi: 0x4DBF, Stride: 1}, {Lo: 0x4E00, Hi: 0x9FFF, Stride: 1}, {Lo: 0xF900, Hi: 0xFAFF, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x20000, Hi: 0x2A6DF, Stride: 1}, {Lo: 0x2A700, Hi: 0x2B73F, Stride: 1}, {Lo: 0x2B740, Hi: 0x2B81F, Stride: 1},
		{Lo: 0x2B920, Hi: 0x2CEAF, Stride: 1}, {Lo: 0x2F800, Hi: 0x2FA1F, Stride: 1}},
}
