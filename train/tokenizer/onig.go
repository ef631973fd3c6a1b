package tokenizer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// oniguruma rewrites an expression of a tokenizer.json for regexp2. There Oniguruma
// reads it, with its own syntax and classes, so each part of an
// expression is read by Oniguruma's rules and written as what regexp2 takes for the
// same; what is not among these is an error.
type oniguruma struct {
	rest    string
	err     error
	depth   int   // of groups and classes
	behind  int   // of how many look-behinds it is inside
	literal rune  // the last atom, if it is a character
	looks   bool  // a match depends on what stands around it, other than white space after it, or goes over white space after a letter
	spaced  bool  // white space is before, where no text is cut
	seen    reach // what the last atom can match
}

// options are those of a group.
type options struct{ fold, lines bool } // (?i), (?m): . is a line's end too

// fromOniguruma returns the expression that matches with regexp2 what another does
// with Oniguruma. looks reports whether a match depends on what stands around it,
// other than white space after it, or can have white space after a letter.
func fromOniguruma(expression string) (text string, looks bool, err error) {
	p := &oniguruma{rest: expression}
	text = p.alternatives(options{})
	if p.err == nil && p.rest != "" {
		p.fail("a group ends that did not begin")
	}
	return text, p.looks, p.err
}

// fail keeps the first error and ends the expression.
func (p *oniguruma) fail(format string, args ...any) string {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = ""
	return ""
}

// enter refuses what is nested so deep that the stack could end.
func (p *oniguruma) enter() {
	if p.depth++; p.depth > 100 {
		p.fail("groups or classes nested more than 100 deep are not supported")
	}
}

// accept passes a text over, if it is next.
func (p *oniguruma) accept(text string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, text)
	return ok
}

// next passes a character over.
func (p *oniguruma) next() rune {
	r, size := utf8.DecodeRuneInString(p.rest)
	p.rest = p.rest[size:]
	return r
}

// alternatives reads up to the end of a group.
func (p *oniguruma) alternatives(o options) string {
	var out strings.Builder
	var before rune    // the literal before
	var now, all reach // of this alternative, and of those before
	p.enter()
	defer func() { p.depth-- }()
	for p.spaced = false; p.rest != "" && p.rest[0] != ')'; {
		if p.accept("|") {
			p.spaced = false
			out.WriteByte('|')
			before, now, all = 0, reach{}, all.or(now)
			continue
		}
		if set := optionGroup.FindStringSubmatch(p.rest); set != nil && set[2] == ")" { // holds for the rest of the group
			p.rest = p.rest[len(set[0]):]
			out.WriteString("(?:" + p.alternatives(p.set(o, set[1])) + ")")
			now = now.then(p.seen, &p.looks)
			break
		}
		p.literal, p.seen = 0, reach{}
		atom, repeats := p.atom(o)
		if o.fold && before != 0 && p.literal != 0 {
			p.checkFold(before, p.literal)
		}
		before = p.literal
		if repeats {
			once := atom
			if atom = p.repeated(atom); atom != once && atom != once+"?" {
				p.seen.then(p.seen, &p.looks)
			}
		}
		now = now.then(p.seen, &p.looks)
		p.spaced = atom == `\s+` || atom == `(?>\s+)`
		out.WriteString(atom)
	}
	p.seen = all.or(now)
	return out.String()
}

// optionGroup is a group with options, or options for what follows.
var optionGroup = regexp.MustCompile(`^\(\?([imx]*(?:-[imx]*)?)([:)])`)

// set returns the options that a group such as (?i-m) changes.
func (p *oniguruma) set(o options, letters string) options {
	on := true
	for _, letter := range letters {
		switch letter {
		case '-':
			on = false
		case 'i':
			o.fold = on
		case 'm':
			o.lines = on
		case 'x':
			if on {
				p.fail("(?x) is not supported")
			}
		}
	}
	return o
}

const (
	lineStart  = `(?:\A|(?<=\n)(?!\z))`
	lineEnd    = `(?=\n|\z)`
	notNewline = `[^\n]`
	anything   = `[\s\S]`
)

// atom reads what a quantifier can follow, where repeats is set, or a condition.
func (p *oniguruma) atom(o options) (text string, repeats bool) {
	if set, ok := p.property(options{}); ok { // (?i) concerns those in classes alone
		if set.items == wordClass {
			set.items += wordLatin
		}
		return p.note(set.text()), true
	}
	if strings.HasPrefix(p.rest, "{") && interval.MatchString(p.rest) {
		return p.fail("{ follows nothing that it could repeat"), false
	}
	switch c := p.next(); c {
	case '\\':
		return p.escape(o)
	case '[':
		return p.note(p.class(o).text()), true
	case '(':
		return p.group(o)
	case '.':
		if o.lines {
			return p.note(anything), true
		}
		return p.note(notNewline), true
	case '^':
		p.looks = true
		return lineStart, false
	case '$':
		p.looks = p.looks || !p.spaced
		return lineEnd, false
	case '*', '+', '?':
		return p.fail("%c follows nothing that it could repeat", c), false
	default:
		return p.literally(c, o), true
	}
}

// literally returns the expression of a character.
func (p *oniguruma) literally(c rune, o options) string {
	p.literal = c
	if set := p.folds(c, c, o); set.items != quote(c) {
		return p.note(set.text())
	}
	p.seen = reach{unicode.IsLetter(c) || unicode.IsDigit(c), unicode.IsSpace(c)}
	return quote(c)
}

// group reads a group, whose parenthesis is past. What groups capture is no matter,
// since references to it are not supported.
func (p *oniguruma) group(o options) (text string, repeats bool) {
	head, repeats := "(?:", true
	set := optionGroup.FindStringSubmatch("(" + p.rest)
	name := groupName.FindString(p.rest)
	switch {
	case p.accept("?#"):
		_, rest, ended := strings.Cut(p.rest, ")")
		if !ended {
			return p.fail("a comment does not end"), false
		}
		p.rest = rest
		return "", false
	case set != nil:
		p.rest = p.rest[len(set[0])-1:]
		o = p.set(o, set[1])
	case p.accept("?>"):
		p.noCut()
		head = "(?>"
	case strings.HasPrefix(p.rest, "?=") || strings.HasPrefix(p.rest, "?!"):
		p.looks = p.looks || !strings.HasPrefix(p.rest, `?!\S)`)
		head, repeats = "("+p.rest[:2], false
		p.rest = p.rest[2:]
	case strings.HasPrefix(p.rest, "?<=") || strings.HasPrefix(p.rest, "?<!"):
		p.looks = true
		p.behind++
		defer func() { p.behind-- }()
		head, repeats = "("+p.rest[:3], false
		p.rest = p.rest[3:]
	case name != "":
		p.rest = p.rest[len(name):]
	case strings.HasPrefix(p.rest, "?"), strings.HasPrefix(p.rest, "*"):
		return p.fail("the group (%.2s is not supported", p.rest), false
	}
	text = head + p.alternatives(o) + ")"
	if !repeats { // a condition
		p.seen = reach{}
	}
	if !p.accept(")") {
		return p.fail("a group does not end"), false
	}
	p.literal = 0
	return text, repeats
}

var groupName = regexp.MustCompile(`^\?<[A-Za-z_]\w*>`)

// noCut refuses what does not try again inside a look-behind, which regexp2 reads
// backwards.
func (p *oniguruma) noCut() {
	if p.behind > 0 {
		p.fail("an atomic group or possessive quantifier inside a look-behind is not supported")
	}
}

var interval = regexp.MustCompile(`^\{(\d*)(,?)(\d*)\}`)

// repeated reads the quantifiers of an atom.
func (p *oniguruma) repeated(atom string) string {
	for first := true; p.rest != ""; first = false {
		quantifier, counted := p.rest[:1], false
		if m := interval.FindStringSubmatch(p.rest); m != nil && (m[1] != "" || m[2] != "" && m[3] != "") {
			p.rest = p.rest[len(m[0]):]
			quantifier, counted = p.interval(m[1], m[2], m[3]), true
		} else if strings.Contains("?*+", quantifier) {
			p.rest = p.rest[1:]
		} else {
			break
		}
		if !first {
			atom = "(?:" + atom + ")"
		}
		switch {
		case strings.HasPrefix(p.rest, "?") && !(counted && !strings.Contains(quantifier, ",")): // after {2} it is one of its own
			p.rest = p.rest[1:]
			atom += quantifier + "?"
		case !counted && p.accept("+"): // after {1,2} it is one of its own
			p.noCut()
			atom = "(?>" + atom + quantifier + ")"
		default:
			atom += quantifier
		}
	}
	return atom
}

// interval returns {low,high}, of which low may be missing.
func (p *oniguruma) interval(low, comma, high string) string {
	least, err := strconv.Atoi("0" + low)
	most := least
	if err == nil && high != "" {
		most, err = strconv.Atoi(high)
	}
	if err != nil || max(least, most) > maxRepeats || most < least {
		return p.fail("the quantifier {%s%s%s} is not supported", low, comma, high)
	}
	if comma == "" || high == "" {
		return fmt.Sprintf("{%d%s}", least, comma)
	}
	return fmt.Sprintf("{%d,%d}", least, most)
}

// maxRepeats is Oniguruma's.
const maxRepeats = 100000

// escape reads what follows a backslash outside of classes.
func (p *oniguruma) escape(o options) (text string, repeats bool) {
	if c, ok := p.character(); ok {
		return p.literally(c, o), true
	}
	const word = "[" + wordClass + wordLatin + "]"
	switch c := p.next(); c {
	case 'b':
		p.looks = true
		return "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))", false
	case 'B':
		p.looks = true
		return "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))", false
	case 'A', 'z', 'Z':
		p.looks = true
		return `\` + string(c), false
	case 'R':
		p.noCut()
		p.note(`\s`)
		return `(?>\r\n|[\n-\r\x85\u2028\u2029])`, true
	case 'N':
		return p.note(notNewline), true
	case 'O':
		return p.note(anything), true
	default:
		return p.fail(`\%c is not supported`, c), false
	}
}

// character reads a character after a backslash.
func (p *oniguruma) character() (r rune, ok bool) {
	if m := hexEscape.FindStringSubmatch(p.rest); m != nil {
		p.rest = p.rest[len(m[0]):]
		code, err := strconv.ParseUint(m[1]+m[2]+m[3], 16, 32)
		if err != nil || !utf8.ValidRune(rune(code)) || m[3] != "" && code > unicode.MaxASCII { // \xE4 is a byte
			p.fail(`\%s is not supported`, m[0])
		}
		return rune(code), true
	}
	if m := octalEscape.FindString(p.rest); m != "" {
		code, _ := strconv.ParseUint(m, 8, 8)
		p.rest = p.rest[len(m):]
		return rune(code), true
	}
	r, size := utf8.DecodeRuneInString(p.rest)
	if at := strings.IndexRune("tnrfvae", r); size > 0 && at >= 0 {
		r = rune("\t\n\r\f\v\a\x1b"[at])
	} else if size == 0 || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
		return 0, false
	}
	p.rest = p.rest[size:]
	return r, true
}

var (
	hexEscape   = regexp.MustCompile(`^(?:x\{([0-9A-Fa-f]{1,8})\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{1,2}))`)
	octalEscape = regexp.MustCompile(`^0[0-7]{0,2}`)
)
