package train

import (
	"fmt"
	"regexp"

	"github.com/dlclark/regexp2/v2"
)

// bytePairs is a byte-pair encoding of bytes, as a tokenizer.json describes it.
type bytePairs struct {
	vocab  int
	start  int32
	text   map[int32]string // of each id
	bytes  [256]int32       // the id of each byte alone, -1 for none
	merges map[[2]int32]merge
	split  []*regexp2.Regexp // cut a text into words, one after the other
	whole  map[string]int32  // words that are tokens without merging; nil for none

	added   *regexp.Regexp // tokens that are found before anything else; nil for none
	addedID map[string]int32

	words map[string][]int32 // those met before
}

// merge is what two neighbors become; of all possible ones the lowest rank is first.
type merge struct {
	rank int
	id   int32
}

// Limits of what is remembered, and of the words that merging, whose time grows
// with the square of their length, takes at once.
const (
	maxWords    = 1 << 16
	maxWordSize = 1 << 10
)

func (t *bytePairs) Vocab() int   { return t.vocab }
func (t *bytePairs) Start() int32 { return t.start }

func (t *bytePairs) Decode(dst []byte, id int32) ([]byte, error) {
	text, ok := t.text[id]
	if !ok {
		return dst, noSuchToken(id, t)
	}
	return append(dst, text...), nil
}

func (t *bytePairs) Encode(dst []int32, text string) ([]int32, error) {
	for len(text) > 0 {
		at, end := len(text), len(text)
		if t.added != nil {
			if found := t.added.FindStringIndex(text); found != nil {
				at, end = found[0], found[1]
			}
		}
		var err error
		if dst, err = t.encodeOrdinary(dst, text[:at]); err != nil {
			return dst, err
		}
		if end > at {
			dst = append(dst, t.addedID[text[at:end]])
		}
		text = text[end:]
	}
	return dst, nil
}

// encodeOrdinary encodes a text without added tokens. Bytes that are not UTF-8
// are words of their own.
func (t *bytePairs) encodeOrdinary(dst []int32, text string) ([]int32, error) {
	for len(text) > 0 {
		valid := validPrefix(text)
		words := []string{text[:valid]}
		for _, re := range t.split {
			var err error
			if words, err = splitWords(re, words); err != nil {
				return dst, err
			}
		}
		if text = text[valid:]; len(text) > 0 {
			words = append(words, text[:1])
			text = text[1:]
		}
		for _, word := range words {
			ids, err := t.word(word)
			if err != nil {
				return dst, err
			}
			dst = append(dst, ids...)
		}
	}
	return dst, nil
}

// splitWords cuts each word into what a pattern matches and what lies between.
func splitWords(re *regexp2.Regexp, words []string) (out []string, err error) {
	for _, word := range words {
		matches, err := re.FindAllStringIndex(word, -1)
		if err != nil {
			return nil, fmt.Errorf("train: tokenizer: %w", err)
		}
		at := 0
		for _, m := range append(matches, []int{len(word), len(word)}) {
			for _, part := range []string{word[at:m[0]], word[m[0]:m[1]]} {
				if part != "" {
					out = append(out, part)
				}
			}
			at = m[1]
		}
	}
	return out, nil
}

// word returns the tokens of a word.
func (t *bytePairs) word(word string) ([]int32, error) {
	if ids, ok := t.words[word]; ok {
		return ids, nil
	}
	var ids []int32
	if id, ok := t.whole[word]; ok {
		ids = []int32{id}
	} else {
		for rest := word; len(rest) > 0; {
			part := rest[:min(len(rest), maxWordSize)]
			merged, err := t.mergeBytes(part)
			if err != nil {
				return nil, err
			}
			ids, rest = append(ids, merged...), rest[len(part):]
		}
	}
	if len(t.words) < maxWords {
		t.words[word] = ids
	}
	return ids, nil
}

// mergeBytes starts from single bytes and merges the first of the pairs of lowest
// rank until none is left.
func (t *bytePairs) mergeBytes(word string) ([]int32, error) {
	ids := make([]int32, len(word))
	for i := range len(word) {
		if ids[i] = t.bytes[word[i]]; ids[i] < 0 {
			return nil, fmt.Errorf("train: tokenizer: no token holds the byte %#02x of %.40q", word[i], word)
		}
	}
	for {
		at, best := -1, merge{}
		for i := range len(ids) - 1 {
			if m, ok := t.merges[[2]int32{ids[i], ids[i+1]}]; ok && (at < 0 || m.rank < best.rank) {
				at, best = i, m
			}
		}
		if at < 0 {
			return ids, nil
		}
		ids[at] = best.id
		ids = append(ids[:at+1], ids[at+2:]...)
	}
}
