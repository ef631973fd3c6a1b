package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// jsonFile is the part of a tokenizer.json of Hugging Face's tokenizers package
// that byte-level byte-pair encodings need; the others are refused.
type jsonFile struct {
	Added      []jsonAdded `json:"added_tokens"`
	Normalizer *jsonStage  `json:"normalizer"`
	Pre        *jsonStage  `json:"pre_tokenizer"`
	Model      struct {
		Type         string            `json:"type"`
		Vocab        map[string]int32  `json:"vocab"`
		Merges       []json.RawMessage `json:"merges"`
		IgnoreMerges bool              `json:"ignore_merges"`
		Dropout      *float64          `json:"dropout"`
		Prefix       *string           `json:"continuing_subword_prefix"`
		Suffix       *string           `json:"end_of_word_suffix"`
	} `json:"model"`
}

// jsonAdded is a token that stands for a text as it is.
type jsonAdded struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	SingleWord bool   `json:"single_word"`
	Left       bool   `json:"lstrip"`
	Right      bool   `json:"rstrip"`
}

// jsonStage is one step before the byte-pair encoding.
type jsonStage struct {
	Type        string      `json:"type"`
	Stages      []jsonStage `json:"pretokenizers"`
	PrefixSpace *bool       `json:"add_prefix_space"`  // of ByteLevel, by default true
	UseRegex    *bool       `json:"use_regex"`         // of ByteLevel, by default true
	Individual  bool        `json:"individual_digits"` // of Digits
	Pattern     struct {
		Regex  *string
		String *string
	} `json:"pattern"` // of Split
	Behavior string `json:"behavior"`
	Invert   bool   `json:"invert"`
}

// gpt2Words is how ByteLevel cuts a text unless told otherwise.
const gpt2Words = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// tokenizerName is the tokenizer's file in a Hugging Face folder.
const tokenizerName = "tokenizer.json"

// patternTimeout ends patterns of a hostile file, which could take for ever.
const patternTimeout = 30 * time.Second

// openTokenizerJSON reads the byte-level byte-pair encoding in a tokenizer.json.
func openTokenizerJSON(path string) (*bytePairs, error) {
	data, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("train: tokenizer: %w", err)
	}
	var file jsonFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("train: tokenizer %s: %w", path, err)
	}
	t, err := file.bytePairs()
	if err != nil {
		return nil, fmt.Errorf("train: tokenizer %s: %w", path, err)
	}
	return t, nil
}

func (f *jsonFile) bytePairs() (*bytePairs, error) {
	m := &f.Model
	switch {
	case m.Type != "BPE" && (m.Type != "" || len(m.Merges) == 0): // older files have no type
		return nil, fmt.Errorf("the model is %q, want BPE", m.Type)
	case m.Dropout != nil && *m.Dropout != 0, m.Prefix != nil && *m.Prefix != "", m.Suffix != nil && *m.Suffix != "":
		return nil, errors.New("a BPE with dropout, continuing_subword_prefix or end_of_word_suffix is not supported")
	case f.Normalizer != nil:
		return nil, fmt.Errorf("a normalizer (%s) is not supported", f.Normalizer.Type)
	}
	t := &bytePairs{text: map[int32]string{}, merges: map[[2]int32]merge{}, addedID: map[string]int32{},
		words: map[string][]int32{}, start: -1}
	if f.Pre == nil {
		return nil, errors.New("it has no pre_tokenizer, want a byte-level one")
	}
	byteLevel, err := t.addStages(*f.Pre)
	if err != nil {
		return nil, err
	}
	if !byteLevel {
		return nil, errors.New("its pre_tokenizer is not byte-level")
	}
	if err := t.addVocab(m.Vocab); err != nil {
		return nil, err
	}
	if m.IgnoreMerges {
		t.whole = map[string]int32{}
		for id, text := range t.text {
			t.whole[text] = id
		}
	}
	if err := t.addMerges(m.Vocab, m.Merges); err != nil {
		return nil, err
	}
	return t, t.addAdded(f.Added)
}

// addAdded adds the tokens that are found in a text before anything else.
func (t *bytePairs) addAdded(added []jsonAdded) error {
	for _, a := range added {
		if a.Content == "" || a.ID < 0 || a.ID == math.MaxInt32 || a.SingleWord || a.Left || a.Right {
			return fmt.Errorf("the added token %q (%d) has options that are not supported", a.Content, a.ID)
		}
		t.text[a.ID], t.addedID[a.Content] = a.Content, a.ID
		t.vocab = max(t.vocab, int(a.ID)+1)
		if a.Special && (t.start < 0 || a.ID < t.start) {
			t.start = a.ID
		}
	}
	if t.start < 0 { // without special tokens: a line's start
		t.start = max(t.bytes['\n'], 0)
	}
	if len(added) == 0 {
		return nil
	}
	names := slices.Collect(maps.Keys(t.addedID))
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // of two at one place the longer
	for i, name := range names {
		names[i] = regexp.QuoteMeta(name)
	}
	var err error
	t.added, err = regexp.Compile(strings.Join(names, "|"))
	return err
}

// addStages adds the patterns of a pre-tokenizer, and reports whether one of its
// stages is ByteLevel.
func (t *bytePairs) addStages(s jsonStage) (byteLevel bool, err error) {
	pattern := ""
	switch s.Type {
	case "Sequence":
		for _, stage := range s.Stages {
			level, err := t.addStages(stage)
			if err != nil {
				return false, err
			}
			byteLevel = byteLevel || level
		}
		return byteLevel, nil
	case "ByteLevel":
		if s.PrefixSpace == nil || *s.PrefixSpace {
			return false, errors.New("a ByteLevel pre_tokenizer with add_prefix_space is not supported")
		}
		if s.UseRegex != nil && !*s.UseRegex {
			return true, nil
		}
		pattern, byteLevel = gpt2Words, true
	case "Digits":
		pattern = `\p{N}+`
		if s.Individual {
			pattern = `\p{N}`
		}
	case "Split":
		switch {
		case s.Behavior != "Isolated" || s.Invert:
			return false, fmt.Errorf("a Split pre_tokenizer with behavior %q and invert %v is not supported", s.Behavior, s.Invert)
		case s.Pattern.Regex != nil:
			pattern = *s.Pattern.Regex
		case s.Pattern.String != nil && *s.Pattern.String != "":
			pattern = regexp2.Escape(*s.Pattern.String)
		default:
			return false, errors.New("a Split pre_tokenizer has no pattern")
		}
	default:
		return false, fmt.Errorf("a pre_tokenizer of type %q is not supported", s.Type)
	}
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return false, fmt.Errorf("pre_tokenizer: %w", err)
	}
	re.MatchTimeout = patternTimeout
	t.split = append(t.split, re)
	return byteLevel, nil
}

// addVocab adds the tokens. In the file each byte is one printable character.
func (t *bytePairs) addVocab(vocab map[string]int32) error {
	letters := byteLetters()
	for i := range t.bytes {
		t.bytes[i] = -1
	}
	for name, id := range vocab {
		text, plain := make([]byte, 0, len(name)), true
		for _, r := range name {
			b, ok := letters[r]
			plain = plain && ok
			text = append(text, b)
		}
		if !plain { // added tokens may be listed here too, as they are
			text = []byte(name)
		}
		if other, twice := t.text[id]; twice || id < 0 || id == math.MaxInt32 || len(text) == 0 {
			return fmt.Errorf("token %q has the id %d, which is another's (%q) or impossible", name, id, other)
		}
		t.text[id] = string(text)
		t.vocab = max(t.vocab, int(id)+1)
		if plain && len(text) == 1 {
			t.bytes[text[0]] = id
		}
	}
	return nil
}

// addMerges adds the pairs, most important first: "a b" or ["a", "b"].
func (t *bytePairs) addMerges(vocab map[string]int32, merges []json.RawMessage) error {
	for rank, raw := range merges {
		var pair []string
		if json.Unmarshal(raw, &pair) != nil {
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return fmt.Errorf("merge %d is %.40s, want two tokens", rank, raw)
			}
			pair = strings.Split(text, " ")
		}
		if len(pair) != 2 {
			return fmt.Errorf("merge %d is %.40s, want two tokens", rank, raw)
		}
		var ids [3]int32
		for i, name := range []string{pair[0], pair[1], pair[0] + pair[1]} {
			id, ok := vocab[name]
			if !ok {
				return fmt.Errorf("merge %d needs the token %q, which is not in the vocabulary", rank, name)
			}
			ids[i] = id
		}
		key := [2]int32{ids[0], ids[1]}
		if _, twice := t.merges[key]; !twice {
			t.merges[key] = merge{rank, ids[2]}
		}
	}
	return nil
}

// byteLetters returns the byte that each character of a byte-level vocabulary
// stands for: printable characters of Latin-1 for themselves, the other bytes in
// their order for U+0100 and those after it.
func byteLetters() map[rune]byte {
	letters := map[rune]byte{}
	other := rune(0x100)
	for b := range 256 {
		r := rune(b)
		if !(r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xAC || r >= 0xAE) {
			r = other
			other++
		}
		letters[r] = byte(b)
	}
	return letters
}
