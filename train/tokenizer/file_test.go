package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
		tok := open(t, "testdata/tokenizer-"+name+".json")
		if start := decode(t, tok, []int32{tok.Special().Start}); start != "\n" || tok.Vocab() < 300 {
			t.Errorf("%s: texts start with %q, %d tokens", name, start, tok.Vocab())
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
		{`"normalizer":null`, `"normalizer":{"type":"Precompiled"}`, `a normalizer of type "Precompiled" is not supported`},
		{`"normalizer":null`, `"normalizer":{"type":"Replace","content":""}`, `a stage of type "Replace" has no pattern`},
		{`"dropout":null`, `"dropout":0.1`, "dropout"},
		{`"dropout":null`, "\n\"dropout\":NaN", "line 2, column 11: invalid character 'N'"},
		{`"unk_token":null`, `"unk_token":"<unk>"`, `unk_token is "<unk>"`},
		{`"type":"Digits"`, `"type":"UnicodeScripts"`, `a pre_tokenizer of type "UnicodeScripts" is not supported`},
		{`"type":"Digits"`, `"type":"Metaspace","prepend_scheme":"often"`, `prepend_scheme "often"`},
		{`"type":"Digits"`, `"type":"Split","pattern":{"Regex":"a"}`, `the behavior ""`},
		{`"type":"Digits"`, `"type":"Split","behavior":"Isolated","pattern":{"Regex":"("}`, `the pattern "(" of a stage of type "Split"`},
		{`"type":"Digits"`, `"type":"Split","behavior":"Isolated"`, "no pattern"},
		{`"type":"Digits"`, `"type":"Split","behavior":"Isolated","pattern":{"Regex":"[a"}`, "does not end"},
		{`"post_processor":null`, `"post_processor":{"type":"BertProcessing","cls":["<s>",-1],"sep":["</s>",0]}`, "the id -1 around a text"},
		{`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"<s>"}}],"special_tokens":{"<s>":{"ids":[50257]}}}`, "the id 50257 around a text"},
		{`"decoder":null`, `"decoder":{"type":"CTC"}`, `a decoder of type "CTC" is not supported`},
		{`"post_processor":null`, `"post_processor":{"type":"Other"}`, `a post_processor of type "Other" is not supported`},
		{`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[]}`, "has the text 0 times"},
		{`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]}`, `has "<s>", which is not one`},
		{`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"id":"<s>","ids":[66000]}}}`, "puts the id 66000 around a text"},
		{`"post_processor":null`, `"post_processor":{"type":"RobertaProcessing","cls":["<s>",0],"sep":["</s>",66000]}`, "puts the id 66000 around a text"},
		{`"post_processor":null`, `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"id":"<s>","ids":[-3]}}}`, "puts the id -3 around a text"},
		{`"post_processor":null`, `"post_processor":{"type":"RobertaProcessing","cls":["<s>",0],"sep":["</s>",-3]}`, "puts the id -3 around a text"},
		{`"post_processor":null`, `"post_processor":{"type":"BertProcessing"}`, "lacks cls or sep"},
		{`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`, ``, "not a tokenizer.json"},
		{`"content":"<|end|>"`, `"content":""`, `the added token "" has the id 0`},
		{`"content":"<|end|>"`, `"content":"<|endless|>"`, `the added token "<|endless|>" has the id 0, in the vocabulary it has 1`},
		{`{`, "version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"},
		{`"merges":[["`, `"merges":[["nothing`, "which is not in the vocabulary"},
		{`"merges":[[`, `"merges":[["a"],[`, `merge 0 is ["a"], want two tokens`},
		{`"merges":[[`, `"merges":[7,[`, `merge 0 is 7, want two tokens`},
		{`"<|end|>":0`, `"<|end|>":1`, "which is another's"},
		{`"<|end|>":0`, `"<|end|>":-1`, "impossible"},
		{`"<|end|>":0`, `"<|end|>":1e99`, "line 1, column 729: model.vocab is 1e99, want an integer of 32 bits"},
	} {
		text := strings.Replace(string(data), c.old, c.new, 1)
		if text == string(data) {
			t.Errorf("the file has no %s", c.old)
		}
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.HasPrefix(err.Error(), "tokenizer: ") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
	_, err = Open(filepath.Join(t.TempDir(), "none.json"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
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
	tok := open(t, path)
	if got := encode(t, tok, "aaa..a"); !slices.Equal(got, []int32{7, 5, 2, 2, 5}) {
		t.Errorf("got %v", got)
	}
	if got := encode(t, tok, strings.Repeat("a", 1<<17)); len(got) != 1<<16 {
		t.Errorf("a long word has %d tokens, want %d", len(got), 1<<16)
	}
	_, err := tok.Encode(nil, "ab")
	if want := `no token holds the byte 0x62 of "ab"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err = tok.Decode(nil, 6); err == nil {
		t.Error("token 6 was decoded")
	}
	if tok.Vocab() != 8 {
		t.Errorf("%d ids, want 8", tok.Vocab())
	}
}

// BOS and EOS come from the files beside the tokenizer, the first that names them.
func TestSpecial(t *testing.T) {
	data, err := os.ReadFile("testdata/tokenizer-words.json")
	if err != nil {
		t.Fatal(err)
	}
	const template = `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}}`
	for name, c := range map[string]struct {
		files map[string]string
		post  string
		start int32
		end   []int32
	}{
		"none":              {nil, "null", 200, nil},
		"config":            {map[string]string{"config.json": `{"bos_token_id":7,"eos_token_id":[2,3]}`}, "null", 7, []int32{2, 3}},
		"generation config": {map[string]string{"config.json": `{"bos_token_id":7,"eos_token_id":2}`, "generation_config.json": `{"eos_token_id":9,"bos_token_id":null}`}, "null", 7, []int32{9}},
		"by name":           {map[string]string{"tokenizer_config.json": `{"bos_token":"<|endless|>","eos_token":{"content":"<|end|>"}}`}, "null", 1, []int32{0}},
		"unknown name":      {map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":null}`}, "null", 200, nil},
		"template":          {map[string]string{"config.json": "\ufeff" + `{"bos_token_id":7}`}, template, 1, nil},
	} {
		dir := t.TempDir()
		text := strings.Replace(string(data), `"post_processor":null`, `"post_processor":`+c.post, 1)
		for file, content := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, []byte("\ufeff"+text), 0o666); err != nil { // as some editors begin files
			t.Fatal(err)
		}
		tok := open(t, path)
		if got := tok.Special(); got.Start != c.start || !slices.Equal(got.End, c.end) {
			t.Errorf("%s: %+v, want %d and %v", name, got, c.start, c.end)
		}
		copied := t.TempDir()
		files, err := tok.Files()
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range files {
			if err := os.WriteFile(filepath.Join(copied, file), content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if again := open(t, filepath.Join(copied, FileName)); again.ID() != tok.ID() || fmt.Sprint(again.Special()) != fmt.Sprint(tok.Special()) {
			t.Errorf("%s: %+v of %+v, as a copy %+v of %+v", name, tok.Special(), tok.ID(), again.Special(), again.ID())
		}
	}
	dir := t.TempDir()
	for file, content := range map[string]string{FileName: string(data), "config.json": "{"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(filepath.Join(dir, FileName)); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a broken config.json: %v", err)
	}
}

// What Oniguruma reads in a way of its own is read so, which testdata/pipelines.json
// shows, or refused by name.
func TestExpressionErrors(t *testing.T) {
	for expression, want := range map[string]string{
		`\pL+`: `\p is not supported`, `\X`: `\X is not supported`, `(a)\1`: `\1 is not supported`, `\k<n>`: `\k is not supported`, `a\Kb`: `\K is not supported`,
		`\cA`: `\c is not supported`, `\Qa.b\E`: `\Q is not supported`, `\xE4`: `\xE4 is not supported`, `[\R]`: `\R in a class`, `\p{Emoji}`: "the property Emoji",
		`[[:graph:]]`: "the property graph", `(?x)a b`: "(?x) is not supported", `(?s).`: "the group (?s is", `(?~a)`: "the group (?~ is", `a{3,2}`: "the quantifier {3,2}",
		`*a`: "* follows nothing", `{2}`: "{ follows nothing", `^*`: "* follows nothing", `(a`: "a group does not end", `a)`: "a group ends that did not begin", `(?#a`: "a comment does not end",
		strings.Repeat("(", 1<<20): "nested more than 100 deep", strings.Repeat("[", 1<<20): "nested more than 100 deep",
		`[a`: "a class does not end", `[a&&]`: "nothing after &&", `[&&a]`: "nothing before &&", `[a-c-e]`: "a - in the middle", `[b-a]`: "a - in the middle", `[a-\d]`: `\d in a class`,
		`(?i)ss`: "which one character folds to", `(?i)ß`: "which folds to several characters", `(?i)[\p{Lu}]`: "under (?i), a class with", `(?<=a++)b`: "inside a look-behind",
	} {
		if text, _, err := fromOniguruma(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q and %v, want %q", expression, text, err, want)
		}
	}
}

// Of added tokens that a normalizer makes equal the first counts.
func TestEqualAddedTokens(t *testing.T) {
	for _, c := range []struct{ normalizer, first, second, text string }{{"Lowercase", "Hello", "HELLO", "hello"}, {"NFKC", "ﬁ", "fi", "ﬁ"}} {
		tok, err := parse(fmt.Appendf(nil, `{"normalizer":{"type":%q},"added_tokens":[{"id":1,"content":%q,"normalized":true},{"id":2,"content":%q,"normalized":true}],
			"model":{"type":"BPE","vocab":{"x":0},"merges":[]}}`, c.normalizer, c.first, c.second))
		if err != nil {
			t.Fatal(err)
		}
		if got := encode(t, tok, c.text); !slices.Equal(got, []int32{1}) {
			t.Errorf("%s: got %v, want [1]", c.normalizer, got)
		}
	}
}
