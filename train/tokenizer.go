package train

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/tiktoken-go/tokenizer/codec"
)

// Tokenizer turns text into token ids and back. Decoding what Encode gave is the
// text again, whatever bytes it holds.
type Tokenizer interface {
	// Vocab returns the number of ids, which go from 0 to Vocab()-1.
	Vocab() int
	// Start returns the id that stands before a text of which nothing is given.
	Start() int32
	// Encode appends the ids of text to dst.
	Encode(dst []int32, text string) ([]int32, error)
	// Decode appends the bytes of one token to dst; a token may be a part of a
	// character.
	Decode(dst []byte, id int32) ([]byte, error)
}

// NewTokenizer returns the tokenizer that Config.Tokenizer names: "bytes", where
// each byte is its own id; "gpt2", the byte-pair encoding of GPT-2 with its 50,257
// ids, of which the text <|endoftext|> is the last; or the path of a tokenizer.json
// with a byte-level byte-pair encoding, as SmolLM2, Llama 3 and Qwen have.
func NewTokenizer(name string) (Tokenizer, error) {
	switch name {
	case "bytes":
		return byteTokens{}, nil
	case "gpt2":
		return newGPT2Tokens()
	}
	if err := checkTokenizer(name); err != nil {
		return nil, err
	}
	return openTokenizerJSON(name)
}

// tokenizers are the names that NewTokenizer knows.
var tokenizers = []string{"bytes", "gpt2"}

// checkTokenizer reports a name that NewTokenizer does not know.
func checkTokenizer(name string) error {
	if strings.EqualFold(filepath.Ext(name), ".json") {
		return nil
	}
	return oneOf("tokenizer", name, append(tokenizers, "a tokenizer.json")...)
}

// byteTokens is the tokenizer without a vocabulary.
type byteTokens struct{}

func (byteTokens) Vocab() int   { return 256 }
func (byteTokens) Start() int32 { return '\n' }

func (byteTokens) Encode(dst []int32, text string) ([]int32, error) {
	for i := range len(text) {
		dst = append(dst, int32(text[i]))
	}
	return dst, nil
}

func (t byteTokens) Decode(dst []byte, id int32) ([]byte, error) {
	if id < 0 || int(id) >= t.Vocab() {
		return dst, noSuchToken(id, t)
	}
	return append(dst, byte(id)), nil
}

func noSuchToken(id int32, t Tokenizer) error {
	return fmt.Errorf("train: token %d is outside the tokenizer's %d", id, t.Vocab())
}

// gpt2Tokens adds to the codec what it leaves to its caller: the special token,
// and bytes that are not UTF-8, which the codec would replace.
type gpt2Tokens struct {
	codec *codec.Codec
	bytes [256]int32 // the id of each byte alone
}

const (
	endOfText = "<|endoftext|>"
	gpt2Vocab = 50257
)

func newGPT2Tokens() (*gpt2Tokens, error) {
	t := &gpt2Tokens{codec: codec.NewR50kBase()}
	for id := range uint(len(t.bytes)) { // they are the vocabulary's first, in an order of its own
		text, err := t.codec.Decode([]uint{id})
		if err != nil || len(text) != 1 {
			return nil, fmt.Errorf("train: gpt2 tokenizer: token %d is %q, want one byte (%v)", id, text, err)
		}
		t.bytes[text[0]] = int32(id)
	}
	return t, nil
}

func (*gpt2Tokens) Vocab() int   { return gpt2Vocab }
func (*gpt2Tokens) Start() int32 { return gpt2Vocab - 1 }

func (t *gpt2Tokens) Encode(dst []int32, text string) ([]int32, error) {
	for {
		ordinary, rest, found := strings.Cut(text, endOfText)
		var err error
		if dst, err = t.encodeOrdinary(dst, ordinary); err != nil || !found {
			return dst, err
		}
		dst = append(dst, t.Start())
		text = rest
	}
}

// encodeOrdinary encodes a text without the special token.
func (t *gpt2Tokens) encodeOrdinary(dst []int32, text string) ([]int32, error) {
	for len(text) > 0 {
		valid := validPrefix(text)
		ids, _, err := t.codec.Encode(text[:valid])
		if err != nil {
			return dst, fmt.Errorf("train: gpt2 tokenizer: %w", err)
		}
		for _, id := range ids {
			dst = append(dst, int32(id))
		}
		if text = text[valid:]; len(text) > 0 {
			dst = append(dst, t.bytes[text[0]])
			text = text[1:]
		}
	}
	return dst, nil
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

func (t *gpt2Tokens) Decode(dst []byte, id int32) ([]byte, error) {
	switch {
	case id < 0 || id >= gpt2Vocab:
		return dst, noSuchToken(id, t)
	case id == t.Start():
		return append(dst, endOfText...), nil
	}
	text, err := t.codec.Decode([]uint{uint(id)})
	if err != nil {
		return dst, fmt.Errorf("train: gpt2 tokenizer: %w", err)
	}
	return append(dst, text...), nil
}

// tokenWidth returns the bytes of a token of a vocabulary in a raw token file.
func tokenWidth(vocab int) int {
	if vocab <= math.MaxUint16+1 {
		return 2
	}
	return 4
}
