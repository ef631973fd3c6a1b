package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The ids are those of the tokenizers package, see testdata/make_tokenizers.py.
func TestTokenizerJSON(t *testing.T) {
	data, err := os.ReadFile("testdata/tokenizers.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Texts                []string
		Words, Digits, Split [][]int32
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][][]int32{"words": golden.Words, "digits": golden.Digits, "split": golden.Split} {
		tok := tokenizer(t, "testdata/tokenizer-"+name+".json")
		if tok.Start() != 0 || tok.Vocab() < 300 {
			t.Errorf("%s: texts start with %d, %d tokens", name, tok.Start(), tok.Vocab())
		}
		for i, text := range golden.Texts {
			for range 2 { // the second time from memory
				if got := encode(t, tok, text); !slices.Equal(got, want[i]) {
					t.Errorf("%s: %q: got %v, want %v", name, text, got, want[i])
				}
			}
		}
		for _, text := range append(golden.Texts, hardTexts...) {
			if got := decode(t, tok, encode(t, tok, text)); got != text {
				t.Errorf("%s: %q came back as %q", name, text, got)
			}
		}
		if _, err := tok.Decode(nil, int32(tok.Vocab())); err == nil {
			t.Errorf("%s: token %d was decoded", name, tok.Vocab())
		}
	}
}

func TestTokenizerJSONErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/tokenizer-digits.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"type":"BPE"`, `"type":"Unigram"`, `the model is "Unigram", want BPE`},
		{`"normalizer":null`, `"normalizer":{"type":"NFC"}`, "a normalizer (NFC)"},
		{`"dropout":null`, `"dropout":0.1`, "dropout"},
		{`"end_of_word_suffix":null`, `"end_of_word_suffix":"</w>"`, "end_of_word_suffix"},
		{`"add_prefix_space":false`, `"add_prefix_space":true`, "add_prefix_space"},
		{`"type":"Digits"`, `"type":"Metaspace"`, `"Metaspace" is not supported`},
		{`"type":"Digits"`, `"type":"Split"`, "behavior"},
		{`"type":"Digits"`, `"type":"Split","behavior":"Isolated","pattern":{"Regex":"("}`, "pre_tokenizer: "},
		{`"type":"Digits"`, `"type":"Split","behavior":"Isolated"`, "no pattern"},
		{`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`, ``, "invalid character"},
		{`"single_word":false`, `"single_word":true`, `"<|end|>" (0) has options`},
		{`"merges":[["`, `"merges":[["nothing`, "which is not in the vocabulary"},
		{`"merges":[[`, `"merges":[["a"],[`, `merge 0 is ["a"], want two tokens`},
		{`"merges":[[`, `"merges":[7,[`, `merge 0 is 7, want two tokens`},
		{`"<|end|>":0`, `"<|end|>":1`, "which is another's"},
		{`"<|end|>":0`, `"<|end|>":-1`, "impossible"},
		{`"<|end|>":0`, `"<|end|>":1e99`, "cannot unmarshal"},
	} {
		text := strings.Replace(string(data), c.old, c.new, 1)
		if text == string(data) {
			t.Errorf("the file has no %s", c.old)
		}
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := NewTokenizer(path)
		wantError(t, err, c.want, path)
	}
	_, err = NewTokenizer(filepath.Join(t.TempDir(), "none.json"))
	wantError(t, err, "none.json")
}

// A vocabulary need not have every byte; words are merged however long.
func TestTokenizerJSONLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	const text = `{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"."},"behavior":"Isolated"},
		{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
		"model":{"type":"BPE","vocab":{"a":5,"aa":7,".":2,"..":3},"merges":["a a",". ."]}}`
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	tok := tokenizer(t, path)
	if got := encode(t, tok, "aaa..a"); !slices.Equal(got, []int32{7, 5, 2, 2, 5}) {
		t.Errorf("got %v", got)
	}
	if got := encode(t, tok, strings.Repeat("a", 4*maxWordSize)); len(got) != 2*maxWordSize {
		t.Errorf("a long word has %d tokens, want %d", len(got), 2*maxWordSize)
	}
	_, err := tok.Encode(nil, "ab")
	wantError(t, err, `no token holds the byte 0x62 of "ab"`)
	_, err = tok.Decode(nil, 6)
	wantError(t, err, "token 6 is outside")
	if tok.Vocab() != 8 {
		t.Errorf("%d ids, want 8", tok.Vocab())
	}
}
