package tokenizer

import (
	"slices"
	"sync"
	"unicode"

	"github.com/dlclark/regexp2/v2"
)

// reach says what a part of an expression can match.
type reach struct{ word, space bool } // a letter or digit; white space

func (r reach) or(other reach) reach { return reach{r.word || other.word, r.space || other.space} }

// then adds what the next part can match, and notes white space after a letter.
func (r reach) then(next reach, crosses *bool) reach {
	*crosses = *crosses || r.word && next.space
	return r.or(next)
}

// note finds what an expression of one character can match.
func (p *oniguruma) note(text string) string {
	if p.err != nil {
		return text
	}
	re, err := regexp2.Compile(text, regexp2.None)
	if err != nil {
		p.err = err
		return text
	}
	matches := func(r rune) bool {
		ok, err := re.MatchString(string(r))
		return ok || err != nil
	}
	p.seen = reach{slices.ContainsFunc(wordSample(), matches), slices.ContainsFunc([]rune(" \n\t\r"), matches)}
	return text
}

// wordSample are letters and digits of which each class has one, but for classes of
// a few rare ones.
var wordSample = sync.OnceValue(func() (sample []rune) {
	for r := range rune(0x3000) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			sample = append(sample, r)
		}
	}
	for _, table := range []*unicode.RangeTable{unicode.L, unicode.Nd} {
		for _, r := range table.R16 {
			sample = append(sample, rune(r.Lo), rune(r.Hi))
		}
		for _, r := range table.R32 {
			sample = append(sample, rune(r.Lo), rune(r.Hi))
		}
	}
	return sample
})
