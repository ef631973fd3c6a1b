// Package tokenizer turns text into token ids and back, with the ids of Hugging
// Face's tokenizers package.
//
// A [Tokenizer] is a byte-pair encoding as a tokenizer.json describes it: of bytes
// (GPT-2, Llama 3, Qwen, SmolLM2 …) or of characters with bytes to fall back on
// (Llama 2, Mistral, Gemma). Two are built in: the bytes themselves, and GPT-2's.
// [Open] finds one by name.
//
// A text goes through the parts of the file in their order: added tokens are found,
// the normalizer changes the rest, the pre-tokenizer cuts it into words, the model
// merges each word's characters; what stands around a document is [Special].
package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// Tokenizer turns text into ids and back. Any number of goroutines may use it.
type Tokenizer struct {
	id      ID
	name    string // as Open knows it
	file    []byte // the tokenizer.json
	vocab   int
	special Special
	begin   input.IDs // BOS, where it's known

	raw        addedTokens // found in the text as it is
	normalized addedTokens // found in what the normalizer made of it
	normalizer []normalizer
	words      []splitter
	model      bytePairs
	text       map[int32]string // what each id decodes to
	cuts       string           // white space before which a text can be cut, see pieceEnd; empty for none

	encoders sync.Pool // of *encoder
}

// ID says which tokenizer it is: two with the same SHA256 make the same ids of
// every text, however their files are written.
type ID struct {
	Kind   string `json:"kind"`   // bytes, gpt2 or bpe
	SHA256 string `json:"sha256"` // of vocabulary, merges, added tokens, stages and template
}

// Special are the ids around a text.
type Special struct {
	Before, After []int32 // what stands around a document, as the post_processor's template says
	Start         int32   // what a text begins with of which nothing is given: the model's BOS, if it has one
	End           []int32 // after any of these a generated text is complete
}

// Open returns the tokenizer that a name stands for: "bytes", where each byte is
// its own id; "gpt2", the byte-pair encoding of GPT-2 with its 50,257 ids, of which
// the text <|endoftext|> is the last; or the path of a tokenizer.json or of the
// folder of a model, see [Find], whose BOS and EOS are those of generation_config.json, config.json or tokenizer_config.json
// beside it.
func Open(name string) (*Tokenizer, error) {
	switch name {
	case "bytes":
		return openBytes()
	case "gpt2":
		return openGPT2()
	}
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if isFolder(name) {
		path, err := Find(name)
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %s has %w", name, err)
		}
		name = path
	} else if filepath.Base(name) == vocabName {
		if err := checkPair(filepath.Dir(name)); err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", name, fault.Unsupported(err))
		}
	}
	if filepath.Base(name) == vocabName {
		return openPair(name)
	}
	return openFile(name)
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// Builtin are the names of the tokenizers that need no file.
var Builtin = []string{"bytes", "gpt2"}

// CheckName reports a name that Open can't know.
func CheckName(name string) error {
	if slices.Contains(Builtin, name) || strings.EqualFold(filepath.Ext(name), ".json") || isFolder(name) {
		return nil
	}
	if strings.EqualFold(filepath.Ext(name), ".model") {
		return fault.Unsupportedf("tokenizer %q is a file of SentencePiece, which is not read: name a %s; %s", name, FileName, convert)
	}
	return fmt.Errorf("tokenizer is %q, want bytes, gpt2 or the path of a tokenizer.json or of its folder", name)
}

// ID identifies the tokenizer.
func (t *Tokenizer) ID() ID { return t.id }

// Name returns the name by which Open found the tokenizer.
func (t *Tokenizer) Name() string { return t.name }

// Vocab returns the number of ids, which go from 0 to Vocab()-1.
func (t *Tokenizer) Vocab() int { return t.vocab }

// Special returns the ids around a text.
func (t *Tokenizer) Special() Special { return t.special }

// Decode appends the bytes of one token to dst; a token may be a part of a
// character. What Encode gave decodes to the text again, whatever bytes it holds,
// unless the normalizer changed it.
func (t *Tokenizer) Decode(dst []byte, id int32) ([]byte, error) {
	text, ok := t.text[id]
	if !ok {
		return dst, fmt.Errorf("tokenizer: token %d is outside the tokenizer's %d", id, t.vocab)
	}
	return append(dst, text...), nil
}

// Encode appends the ids of a text to dst, without those around a document.
func (t *Tokenizer) Encode(dst []int32, text string) ([]int32, error) {
	return t.encode(dst, text, true)
}

// encode encodes a text, or, when start is false, the rest of one that was cut.
func (t *Tokenizer) encode(dst []int32, text string, start bool) ([]int32, error) {
	if t.id.Kind == "bytes" {
		for i := range len(text) {
			dst = append(dst, int32(text[i]))
		}
		return dst, nil
	}
	e, _ := t.encoders.Get().(*encoder)
	if e == nil {
		e = &encoder{Tokenizer: t, known: map[string][]int32{}}
	}
	defer t.encoders.Put(e)
	e.ids = dst
	for i, part := range t.raw.cut(text) {
		if part.id >= 0 {
			e.ids = append(e.ids, part.id)
		} else if err := e.section(part.text, start || i > 0, start && i == 0); err != nil {
			return dst, err
		}
	}
	dst, e.ids = e.ids, nil
	return dst, nil
}

// encoder is what one goroutine needs to encode.
type encoder struct {
	*Tokenizer
	ids    []int32
	known  map[string][]int32 // words met before
	merger merger
}

// section encodes a text without raw added tokens. The normalizer puts in front
// what it does if prepend is set; first is set for the beginning of the whole text.
// Bytes that are not UTF-8 pass all stages by.
func (e *encoder) section(text string, prepend, first bool) error {
	for len(text) > 0 {
		valid := validPrefix(text)
		section := word{text[:valid], 0}
		if first {
			_, section.head = utf8.DecodeRuneInString(section.text)
		}
		var err error
		for _, normalize := range e.normalizer {
			if section, err = normalize(section, prepend); err != nil {
				return fmt.Errorf("tokenizer: %w", err)
			}
		}
		for i, part := range e.normalized.cut(section.text) {
			if part.id >= 0 {
				e.ids = append(e.ids, part.id)
				continue
			}
			w := word{part.text, 0}
			if i == 0 {
				w = section.slice(0, len(part.text))
			}
			if err := e.ordinary(w); err != nil {
				return err
			}
		}
		if text = text[valid:]; len(text) > 0 {
			if err := e.strayByte(text[0]); err != nil {
				return err
			}
			text = text[1:]
		}
		prepend, first = false, false
	}
	return nil
}

// ordinary encodes a normalized text without added tokens.
func (e *encoder) ordinary(text word) (err error) {
	if text.text == "" {
		return nil
	}
	words := []word{text}
	for _, split := range e.words {
		if words, err = split(words); err != nil {
			return fmt.Errorf("tokenizer: %w", err)
		}
	}
	for _, w := range words {
		if err := e.word(w.text); err != nil {
			return err
		}
	}
	return nil
}

// validPrefix returns how many bytes from the start on are UTF-8.
func validPrefix(text string) int {
	if utf8.ValidString(text) {
		return len(text)
	}
	at := 0
	for {
		r, size := utf8.DecodeRuneInString(text[at:])
		if r == utf8.RuneError && size < 2 {
			return at
		}
		at += size
	}
}
