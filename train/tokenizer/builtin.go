package tokenizer

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/tiktoken-go/tokenizer/codec"

	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// openBytes returns the tokenizer whose ids are the bytes: a byte-level encoding
// without merges. Texts begin where a line does.
var openBytes = sync.OnceValues(func() (*Tokenizer, error) {
	f := builtinFile()
	for b, letter := range byteLetters {
		f.Model.Vocab[letter] = int32(b)
	}
	f.Pre.UseRegex = new(false)
	return f.encoded("bytes")
})

const (
	endOfText = "<|endoftext|>"
	gpt2Vocab = 50257
)

// openGPT2 returns GPT-2's tokenizer. Its merges follow from its tokens: each
// token, in the order of the ids, is a merge of two of those before it.
var openGPT2 = sync.OnceValues(func() (*Tokenizer, error) {
	f := builtinFile()
	ranks := codec.NewR50kBase()
	var b bytePairs
	b.ids, b.merges, b.unknown = f.Model.Vocab, map[[2]int32]merge{}, -1
	names := make([]string, gpt2Vocab-1)
	var g merger
	for id := range int32(gpt2Vocab - 1) {
		text, err := ranks.Decode([]uint{uint(id)})
		if err != nil {
			return nil, fmt.Errorf("tokenizer: gpt2: %w", err)
		}
		name := toLetters(text)
		names[id] = name
		if len(text) > 1 {
			g.symbols = g.symbols[:0]
			if err := b.characters(name, g.add); err != nil {
				return nil, fmt.Errorf("tokenizer: gpt2: token %d: %w", id, err)
			}
			g.run(b.merges)
			first := g.symbols[0]
			if first.next < 0 || g.symbols[first.next].next >= 0 {
				return nil, fmt.Errorf("tokenizer: gpt2: token %d, %q, is no merge of two tokens before it", id, text)
			}
			pair := [2]int32{first.id, g.symbols[first.next].id}
			b.merges[pair] = merge{id, id}
			raw, err := json.Marshal([]string{names[pair[0]], names[pair[1]]})
			if err != nil {
				return nil, err
			}
			f.Model.Merges = append(f.Model.Merges, raw)
		}
		f.Model.Vocab[name] = id
	}
	f.Model.Vocab[endOfText] = gpt2Vocab - 1
	f.Added = []addedToken{{ID: gpt2Vocab - 1, Content: endOfText, Special: true}}
	t, err := f.encoded("gpt2")
	if err == nil {
		t.setSpecial(input.IDs{gpt2Vocab - 1}, input.IDs{gpt2Vocab - 1})
	}
	return t, err
})

// builtinFile returns a byte-level file without tokens.
func builtinFile() *file {
	level := func() *stage {
		return &stage{Type: "ByteLevel", PrefixSpace: new(false), TrimOffsets: new(true), UseRegex: new(true)}
	}
	return &file{Version: "1.0", Added: []addedToken{}, Pre: level(), Decoder: level(),
		Model: model{Type: "BPE", Vocab: map[string]int32{}, Merges: []json.RawMessage{}}}
}

// encoded writes the file and makes its tokenizer.
func (f *file) encoded(kind string) (*Tokenizer, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", kind, err)
	}
	t, err := f.build(kind, data)
	if err == nil {
		t.name = kind
	}
	return t, err
}
