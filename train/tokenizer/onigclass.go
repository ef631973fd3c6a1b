package tokenizer

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// charSet is a set of characters: those of items, as they stand in a class of
// regexp2, and those of others, which are expressions of one character each.
type charSet struct {
	items   string
	others  []string
	negated bool // all but these
}

// text returns the expression of one character of the set.
func (s charSet) text() string {
	if len(s.others) == 0 {
		if s.negated {
			return "[^" + s.items + "]"
		}
		if oneItem.MatchString(s.items) {
			return s.items
		}
		return "[" + s.items + "]"
	}
	others := strings.Join(s.others, "|")
	if s.items != "" {
		others = "[" + s.items + "]|" + others
	}
	if s.negated {
		return "(?:(?!" + others + ")" + anything + ")"
	}
	return "(?:" + others + ")"
}

// add adds a set's characters.
func (s *charSet) add(more charSet) {
	if more.negated {
		more = charSet{others: []string{more.text()}}
	}
	s.items += more.items
	s.others = append(s.others, more.others...)
}

// complement returns all other characters.
func (s charSet) complement() charSet {
	if m := oneItem.FindStringSubmatch(s.items); m != nil && len(s.others) == 0 {
		return charSet{items: `\` + string(m[1][0]^0x20) + m[2]}
	}
	s.negated = !s.negated
	return s
}

// oneItem are the items with a complement that is an item.
var oneItem = regexp.MustCompile(`^\\([sdpSDP])(\{\w+\})?$`)

// class reads a class, whose bracket is past.
func (p *oniguruma) class(o options) charSet {
	p.enter()
	defer func() { p.depth-- }()
	negated := p.accept("^")
	var set charSet
	var before strings.Builder // all that && stands after
	empty := true
	if p.accept("]") { // is one of its characters
		set.items, empty = `\]`, false
	}
	for !p.accept("]") {
		if p.rest == "" {
			p.fail("a class does not end")
			return charSet{}
		}
		if !p.accept("&&") {
			set.add(p.member(o, empty))
			empty = false
			continue
		}
		if empty {
			p.fail("a class with nothing before && is not supported")
		}
		before.WriteString("(?=" + set.text() + ")")
		set, empty = charSet{}, true
	}
	if empty {
		p.fail("a class with nothing after && is not supported")
	}
	if before.Len() > 0 {
		set = charSet{others: []string{before.String() + set.text()}}
	}
	set.negated = negated
	return set
}

// member reads a part of a class: a character, a range, or a class.
func (p *oniguruma) member(o options, first bool) charSet {
	if m := posixBracket.FindStringSubmatch(p.rest); m != nil {
		p.rest = p.rest[len(m[0]):]
		if m[2] == "punct" {
			return p.foldSet(charSet{items: `\p{P}\p{S}`}, m[1] != "", o)
		}
		return p.named(m[2], m[1] != "", o)
	}
	if p.accept("[") {
		return p.class(o)
	}
	if set, ok := p.property(o); ok {
		return set
	}
	dash := strings.HasPrefix(p.rest, "-") && !strings.HasPrefix(p.rest, "-]") && !first
	from := p.classCharacter()
	to := from
	if strings.HasPrefix(p.rest, "-") && !strings.HasPrefix(p.rest, "-]") {
		p.rest = p.rest[1:]
		dash = dash || strings.HasPrefix(p.rest, "-") || strings.HasPrefix(p.rest, "[") || strings.HasPrefix(p.rest, "&&")
		to = p.classCharacter()
	}
	if dash || to < from {
		p.fail("a - in the middle of a class that is not the one of a range is not supported")
	}
	return p.folds(from, to, o)
}

var posixBracket = regexp.MustCompile(`^\[:(\^?)(\w+):\]`)

// classCharacter reads a character of a class.
func (p *oniguruma) classCharacter() rune {
	if !p.accept(`\`) {
		return p.next()
	}
	if p.accept("b") {
		return '\b'
	}
	r, ok := p.character()
	if !ok {
		p.fail(`\%.1s in a class is not supported`, p.rest)
	}
	return r
}

// property reads \w, \p{Han} and their like.
func (p *oniguruma) property(o options) (set charSet, ok bool) {
	if m := propertyEscape.FindStringSubmatch(p.rest); m != nil {
		p.rest = p.rest[len(m[0]):]
		return p.named(m[3], (m[1] == "P") != (m[2] != ""), o), true
	}
	if len(p.rest) < 2 || p.rest[0] != '\\' {
		return charSet{}, false
	}
	letter := p.rest[1]
	items, ok := map[byte]string{'w': wordClass, 'd': `\d`, 's': `\s`, 'h': hexClass}[letter|0x20]
	if !ok {
		return charSet{}, false
	}
	p.rest = p.rest[2:]
	return p.foldSet(charSet{items: items}, letter < 'a', o), true
}

var propertyEscape = regexp.MustCompile(`^\\([pP])\{(\^?)([\w \-]+)\}`)

// named returns the set of a property.
func (p *oniguruma) named(name string, negated bool, o options) charSet {
	items, ok := properties()[plainName.Replace(strings.ToLower(name))]
	if !ok {
		p.fail("the property %s is not supported", name)
	}
	return p.foldSet(charSet{items: items}, negated, o)
}

var plainName = strings.NewReplacer(" ", "", "_", "", "-", "")

const (
	wordClass  = alphaClass + `\p{M}\p{Nd}\p{Pc}` // in a class; elsewhere with the next too
	wordLatin  = `²³¹¼½¾`
	alphaClass = `\p{L}\p{Nl}\p{Other_Alphabetic}`
	hexClass   = `0-9A-Fa-f`
)

// properties are Unicode's categories and scripts, and the classes of POSIX, by
// their names in lower case.
var properties = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for name := range unicode.Scripts {
		all[plainName.Replace(strings.ToLower(name))] = `\p{` + name + `}`
	}
	for name := range unicode.Categories {
		all[strings.ToLower(name)] = `\p{` + name + `}`
	}
	for name, category := range unicode.CategoryAliases {
		all[plainName.Replace(strings.ToLower(name))] = `\p{` + category + `}`
	}
	for name, items := range map[string]string{
		"alpha": alphaClass, "alphabetic": alphaClass, "alnum": alphaClass + `\p{Nd}`, "word": wordClass,
		"upper": `\p{Lu}\p{Other_Uppercase}`, "uppercase": `\p{Lu}\p{Other_Uppercase}`,
		"lower": `\p{Ll}\p{Other_Lowercase}`, "lowercase": `\p{Ll}\p{Other_Lowercase}`,
		"space": `\s`, "whitespace": `\s`, "blank": `\t\p{Zs}`, "digit": `\d`, "xdigit": hexClass, "ascii": `\x00-\x7F`,
		"c": `\p{C}\p{Cn}`, "other": `\p{C}\p{Cn}`,
	} {
		all[name] = items
	}
	return all
})

// foldSet returns a set of a class, or its complement, as it is, which is right
// under (?i) only for sets that have with each character those that it folds to.
func (p *oniguruma) foldSet(set charSet, negated bool, o options) charSet {
	if o.fold {
		switch set.items {
		case `\p{L}`:
			set.items += `\x{345}` // folds to iota
			if negated {
				p.fail("under (?i), the complement of letters in a class is not supported")
			}
		case `\p{N}`, `\p{P}`, `\p{S}`, `\p{Z}`, `\p{P}\p{S}`, `\p{Han}`, `\s`, `\d`, wordClass, alphaClass, hexClass:
		default:
			p.fail("under (?i), a class with %s is not supported", set.items)
		}
	}
	if negated {
		return set.complement()
	}
	return set
}

// folds returns the characters of a range, under (?i) with all that fold to the
// same.
func (p *oniguruma) folds(from, to rune, o options) charSet {
	items := quote(from)
	if to > from {
		items += "-" + quote(to)
	}
	for r := from; o.fold && r <= to; r++ {
		if multiFolds().of[r] {
			p.fail("under (?i), %q, which folds to several characters, is not supported", r)
			break
		}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			items += quote(other)
		}
	}
	return charSet{items: items}
}

// quote writes a character so that regexp2 takes it for itself.
func quote(r rune) string {
	if r >= utf8.RuneSelf || unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ' {
		return string(r)
	}
	return fmt.Sprintf(`\x%02X`, r)
}

// folding are the characters that fold to several, and the neighbours in what they
// fold to.
type folding struct {
	of    map[rune]bool
	pairs map[[2]rune]bool
}

var multiFolds = sync.OnceValue(func() folding {
	f := folding{map[rune]bool{}, map[[2]rune]bool{}}
	for r := range rune(0x10000) { // all are of the basic plane
		folded := []rune(cases.Fold().String(string(r)))
		for i := range folded[1:] {
			f.of[r] = true
			f.pairs[[2]rune{folded[i], folded[i+1]}] = true
		}
	}
	return f
})

// checkFold refuses neighbours that under (?i) match one character too, as ss does ß.
func (p *oniguruma) checkFold(before, r rune) {
	pair := []rune(cases.Fold().String(string([]rune{before, r})))
	if len(pair) == 2 && multiFolds().pairs[[2]rune{pair[0], pair[1]}] {
		p.fail("under (?i), %q, which one character folds to, is not supported", string(pair))
	}
}
