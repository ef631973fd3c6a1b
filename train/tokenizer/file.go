package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// file is a tokenizer.json of Hugging Face's tokenizers package.
type file struct {
	Version    string       `json:"version"`
	Added      []addedToken `json:"added_tokens"`
	Normalizer *stage       `json:"normalizer"`
	Pre        *stage       `json:"pre_tokenizer"`
	Post       *processor   `json:"post_processor"`
	Decoder    *stage       `json:"decoder"`
	Model      model        `json:"model"`
}

// model is the byte-pair encoding of a file.
type model struct {
	Type         string            `json:"type"`
	Dropout      *float64          `json:"dropout"`
	Unknown      *string           `json:"unk_token"`
	Prefix       *string           `json:"continuing_subword_prefix"`
	Suffix       *string           `json:"end_of_word_suffix"`
	Fuse         bool              `json:"fuse_unk"`
	Fallback     bool              `json:"byte_fallback"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Vocab        map[string]int32  `json:"vocab"`
	Merges       []json.RawMessage `json:"merges"` // most important first: "a b" or ["a", "b"]
}

// FileName is the name of a tokenizer's file in the folder of a model.
const FileName = "tokenizer.json"

// maxFile is far above any tokenizer.json: that of 262,144 ids has 33 MB.
const maxFile = 256 << 20

// openFile reads a tokenizer.json, and the special ids from the files beside it.
func openFile(path string) (*Tokenizer, error) {
	data, err := input.Read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	t.name = path
	return t, t.readSpecial(filepath.Dir(path))
}

// parse returns the tokenizer of a tokenizer.json.
func parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := input.Unmarshal(data, &f); err != nil {
		return nil, fault.Damaged(fmt.Errorf("not a tokenizer.json as Hugging Face's tokenizers package saves it: %w", err))
	}
	t, err := f.build("bpe", data)
	return t, fault.Damaged(err)
}

// builder makes a Tokenizer of a file.
type builder struct {
	t           *Tokenizer
	recipes     []string // what the stages do, for the hash
	inLetters   bool     // a stage turns bytes into letters
	lastLetters int      // the index of the last splitter that does
	prefix      bool     // a splitter puts a space in front of words
	whole       bool     // a text can't be cut, for its normalizer
}

// recipe notes what makes ids.
func (b *builder) recipe(what string, options ...any) {
	b.recipes = append(b.recipes, fmt.Sprintf("%s %q", what, options))
}

// build makes the tokenizer. data is the file as it was read.
func (f *file) build(kind string, data []byte) (*Tokenizer, error) {
	m := &f.Model
	switch {
	case m.Type != "BPE" && (m.Type != "" || len(m.Vocab) == 0): // older files have no type
		return nil, fault.Unsupportedf("the model is %q, want BPE", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return nil, fault.Unsupportedf("a BPE with dropout (%v) is not supported", *m.Dropout)
	}
	b := &builder{t: &Tokenizer{file: data, text: map[int32]string{}}, lastLetters: -1}
	if f.Normalizer != nil {
		if err := b.addNormalizer(*f.Normalizer); err != nil {
			return nil, fault.Unsupported(err)
		}
	}
	if f.Pre != nil {
		if err := b.addWords(*f.Pre); err != nil {
			return nil, fault.Unsupported(err)
		}
	}
	t := b.t
	if last := len(t.words) - 1; last >= 0 && last == b.lastLetters { // the model does it, once per word
		t.words, t.model.letters = t.words[:last], true
	}
	if err := b.addModel(m); err != nil {
		return nil, err
	}
	if err := b.addDecoder(f.Decoder); err != nil {
		return nil, fault.Unsupported(err)
	}
	if err := b.addAdded(f.Added); err != nil {
		return nil, err
	}
	if err := b.addTemplate(f.Post); err != nil {
		return nil, fault.Unsupported(err)
	}
	for _, id := range slices.Concat(t.special.Before, t.special.After) {
		if id < 0 || int(id) >= t.Vocab() {
			return nil, fmt.Errorf("the post_processor puts the id %d around a text, which is outside the vocabulary of %d", id, t.Vocab())
		}
	}
	t.special.Start = max(t.model.bytes['\n'], 0) // a line's, until a BOS is known
	b.findCuts(f.Added)
	t.id = ID{kind, b.hash(m, f.Added)}
	return t, nil
}

// addModel adds tokens and merges.
func (b *builder) addModel(m *model) error {
	p, t := &b.t.model, b.t
	p.ids, p.merges, p.unknown = m.Vocab, make(map[[2]int32]merge, len(m.Merges)), -1
	p.whole, p.fallback, p.fuse = m.IgnoreMerges, m.Fallback, m.Fuse
	if m.Prefix != nil {
		p.prefix = *m.Prefix
	}
	if m.Suffix != nil {
		p.suffix = *m.Suffix
	}
	for name, id := range m.Vocab {
		if other, twice := t.text[id]; twice || id < 0 || id == math.MaxInt32 || name == "" {
			return fmt.Errorf("token %q has the id %d, which is another's (%q) or impossible", name, id, other)
		}
		t.text[id] = name
		t.vocab = max(t.vocab, int(id)+1)
	}
	if m.Unknown != nil {
		id, ok := m.Vocab[*m.Unknown]
		if !ok {
			return fmt.Errorf("unk_token is %q, which is not in the vocabulary", *m.Unknown)
		}
		p.unknown = id
	}
	for i := range p.bytes {
		name := byteLetters[i]
		if !b.inLetters {
			name = fmt.Sprintf("<0x%02X>", i)
		}
		if id, ok := m.Vocab[name]; ok && (b.inLetters || m.Fallback) {
			p.bytes[i] = id
		} else {
			p.bytes[i] = -1
		}
	}
	return p.addMerges(m)
}

func (p *bytePairs) addMerges(m *model) error {
	for rank, raw := range m.Merges {
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
		for i, name := range []string{pair[0], pair[1], pair[0] + strings.TrimPrefix(pair[1], p.prefix)} {
			id, ok := m.Vocab[name]
			if !ok {
				return fmt.Errorf("merge %d needs the token %q, which is not in the vocabulary", rank, name)
			}
			ids[i] = id
		}
		key := [2]int32{ids[0], ids[1]}
		if _, twice := p.merges[key]; !twice {
			p.merges[key] = merge{int32(rank), ids[2]}
		}
	}
	return nil
}

// addAdded adds the tokens that stand for a text as it is.
func (b *builder) addAdded(added []addedToken) error {
	var raw, normalized []addedToken
	for _, a := range added {
		if a.Content == "" || a.ID < 0 || a.ID == math.MaxInt32 {
			return fmt.Errorf("the added token %q has the id %d: both must be possible", a.Content, a.ID)
		}
		id, listed := b.t.model.ids[a.Content]
		if listed && id != a.ID {
			return fmt.Errorf("the added token %q has the id %d, in the vocabulary it has %d", a.Content, a.ID, id)
		}
		if other, used := b.t.text[a.ID]; used && !listed && other != a.Content {
			return fmt.Errorf("the added token %q has the id %d, which is another's (%q)", a.Content, a.ID, other)
		}
		b.t.text[a.ID] = a.Content
		b.t.vocab = max(b.t.vocab, int(a.ID)+1)
		if !a.Normalized {
			raw = append(raw, a)
			continue
		}
		content := word{text: a.Content}
		for _, normalize := range b.t.normalizer {
			var err error
			if content, err = normalize(content, true); err != nil {
				return err
			}
		}
		a.Content = content.text
		if a.Content != "" {
			normalized = append(normalized, a)
		}
	}
	b.t.raw, b.t.normalized = newAddedTokens(raw), newAddedTokens(normalized)
	return nil
}

// findCuts finds where a text can be cut without a change to its ids: at white
// space after a letter or digit, if no token goes over such a place, so that
// nothing is ever merged there.
func (b *builder) findCuts(added []addedToken) {
	t := b.t
	for _, text := range t.text {
		b.whole = b.whole || crosses(text)
	}
	for _, a := range added {
		last, _ := utf8.DecodeLastRuneInString(a.Content)
		b.whole = b.whole || crosses(a.Content) || a.Right && (unicode.IsLetter(last) || unicode.IsDigit(last))
	}
	switch {
	case b.whole:
	case b.prefix: // changes nothing where there is a space already
		t.cuts = " "
	default:
		t.cuts = " \n\t\r"
	}
}

// crosses reports white space after a letter or a digit.
func crosses(text string) bool {
	after := false
	for _, r := range text {
		if after && (unicode.IsSpace(r) || r == '▁') {
			return true
		}
		after = unicode.IsLetter(r) || unicode.IsDigit(r) || r == utf8.RuneError // perhaps the end of a letter
	}
	return false
}

// hash returns the SHA-256 of everything that ids depend on.
func (b *builder) hash(m *model, added []addedToken) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", b.recipes)
	p := &b.t.model
	fmt.Fprintf(h, "%v %v %v %v %q %q\n", p.whole, p.fallback, p.unknown, p.fuse, p.prefix, p.suffix)
	fmt.Fprintf(h, "%v %v\n", b.t.special.Before, b.t.special.After)
	for _, name := range slices.Sorted(maps.Keys(m.Vocab)) {
		fmt.Fprintf(h, "%q %d\n", name, m.Vocab[name])
	}
	pairs := slices.SortedFunc(maps.Keys(p.merges), func(x, y [2]int32) int { return int(p.merges[x].rank - p.merges[y].rank) })
	for _, pair := range pairs {
		fmt.Fprintf(h, "%d %d\n", pair[0], pair[1])
	}
	slices.SortFunc(added, func(x, y addedToken) int { return int(x.ID) - int(y.ID) })
	for _, a := range added {
		fmt.Fprintf(h, "%d %q %v %v %v %v\n", a.ID, a.Content, a.SingleWord, a.Left, a.Right, a.Normalized)
	}
	return hex.EncodeToString(h.Sum(nil))
}
