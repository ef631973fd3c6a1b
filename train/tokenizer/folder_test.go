package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folderOf writes files to a new folder.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// gpt2Pair is the tokenizer of GPT-2 as OpenAI published it: a vocab.json and a merges.txt.
func gpt2Pair(t *testing.T) map[string]string {
	t.Helper()
	builtin := open(t, "gpt2")
	var f file
	if err := json.Unmarshal(builtin.file, &f); err != nil {
		t.Fatal(err)
	}
	vocab, err := json.Marshal(f.Model.Vocab)
	if err != nil {
		t.Fatal(err)
	}
	var merges strings.Builder
	merges.WriteString("#version: 0.2\n")
	for _, raw := range f.Model.Merges {
		var pair []string
		if err := json.Unmarshal(raw, &pair); err != nil {
			t.Fatal(err)
		}
		merges.WriteString(strings.Join(pair, " ") + "\n")
	}
	return map[string]string{vocabName: string(vocab), mergesName: merges.String()}
}

func TestVocabAndMergesOfGPT2(t *testing.T) {
	files := gpt2Pair(t)
	files["config.json"] = `{"model_type": "gpt2", "bos_token_id": 50256, "eos_token_id": 50256}`
	files["tokenizer_config.json"] = `{"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}`
	dir := folderOf(t, files)
	for _, name := range []string{dir, filepath.Join(dir, vocabName)} {
		tok := open(t, name)
		want := open(t, "gpt2")
		if tok.ID().SHA256 != want.ID().SHA256 || tok.ID().Kind != "bpe" || tok.Name() != filepath.Join(dir, vocabName) {
			t.Errorf("%s is %+v of %s, want %+v", name, tok.ID(), tok.Name(), want.ID())
		}
		if got := tok.Special(); got.Start != 50256 || !slices.Equal(got.End, []int32{50256}) {
			t.Errorf("%+v, want 50256 before and after", got)
		}
		const text = "Hello  world's\n\n<|endoftext|> été 12345 !!"
		if got, want := encode(t, tok, text), encode(t, want, text); !slices.Equal(got, want) {
			t.Errorf("ids %v, want %v", got, want)
		}
		copied, err := tok.Files()
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for name, data := range copied {
			texts[name] = string(data)
		}
		if again := open(t, folderOf(t, texts)); again.ID() != tok.ID() || filepath.Base(again.Name()) != FileName {
			t.Errorf("as a copy %+v of %s, want %+v of %s", again.ID(), again.Name(), tok.ID(), FileName)
		}
	}
}

// What a folder has instead of a tokenizer.json is told, with what to do, where
// that does not say all.
func TestFoldersWithoutATokenizer(t *testing.T) {
	pair := func(more map[string]string) map[string]string {
		files := map[string]string{vocabName: `{"a": 0, "b": 1, "ab": 2}`, mergesName: "a b\n"}
		for name, text := range more {
			files[name] = text
		}
		return files
	}
	for name, c := range map[string]struct {
		files map[string]string
		wants []string // besides what every error says
	}{
		"llama":         {pair(map[string]string{"config.json": `{"model_type": "llama"}`}), []string{`the model is "llama"`, "AutoTokenizer"}},
		"roberta":       {pair(map[string]string{"tokenizer_config.json": `{"tokenizer_class": "RobertaTokenizer"}`}), []string{"is a RobertaTokenizer", "AutoTokenizer"}},
		"prefix":        {pair(map[string]string{"tokenizer_config.json": `{"add_prefix_space": true}`}), []string{"puts something before", "AutoTokenizer"}},
		"added":         {pair(map[string]string{"added_tokens.json": `{"<pad>": 3}`}), []string{"added tokens", "AutoTokenizer"}},
		"wrong type":    {pair(map[string]string{"tokenizer_config.json": `{"add_bos_token": "yes"}`}), []string{"tokenizer_config.json: line 1, column 23: add_bos_token is a string, want true or false"}},
		"alone":         {map[string]string{vocabName: "{}"}, []string{"only vocab.json", "AutoTokenizer"}},
		"sentencepiece": {map[string]string{"tokenizer.model": "\n\x0e"}, []string{"only tokenizer.model", "AutoTokenizer"}},
		"nothing":       {nil, []string{"what its ids mean is not known"}},
	} {
		dir := folderOf(t, c.files)
		_, err := Open(dir)
		if err == nil {
			t.Errorf("%s: it was opened", name)
			continue
		}
		for _, want := range append(c.wants, dir, "no tokenizer.json") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", name, err, want)
			}
		}
	}
	for name, want := range map[string]string{
		"some/tokenizer.model": "SentencePiece, which is not read: name a tokenizer.json; transformers makes one",
		"some/merges.txt":      "want bytes, gpt2 or the path of a tokenizer.json or of its folder",
	} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	for text, want := range map[string]string{`{"a": "0"}`: "it is a string, want an integer of 32 bits", `{"a": 0, "b": 1}`: `merge 0 needs the token "ab"`, `{"a": 0,}`: "line 1, column 9"} {
		dir := folderOf(t, map[string]string{vocabName: text, mergesName: "a b\n"})
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// What a hand-made file has of another type is told by its path.
func TestWrongTypesInWords(t *testing.T) {
	data, err := os.ReadFile("testdata/tokenizer-digits.json")
	if err != nil {
		t.Fatal(err)
	}
	for old, c := range map[string][2]string{
		`"vocab":{`:             {`"vocab":[],"x":{`, "model.vocab is a list, want an object"},
		`"merges":[`:            {`"merges":{},"x":[`, "model.merges is an object, want a list"},
		`"added_tokens":[`:      {`"added_tokens":7,"x":[`, "added_tokens is a number, want a list"},
		`"post_processor":null`: {`"post_processor":{"type":"BertProcessing","cls":["a",1],"sep":3}`, "post_processor.sep is 3, want a token and its id"},
		`"normalizer":null`:     {`"normalizer":{"type":3}`, "normalizer.type is a number, want a string"},
		`"decoder":`:            {`"decoder":"x","y":`, "decoder is a string, want an object"},
		`"version":"1.0"`:       {`"version":1`, "version is a number, want a string"},
	} {
		text := strings.Replace(string(data), old, c[0], 1)
		if text == string(data) {
			t.Errorf("the file has no %s", old)
			continue
		}
		_, err := Open(filepath.Join(folderOf(t, map[string]string{FileName: text}), FileName))
		if err == nil || !strings.Contains(err.Error(), c[1]) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: error %v, want %q", c[0], err, c[1])
		}
	}
	for name, c := range map[string][2]string{
		"generation_config.json": {`{"eos_token_id": "2"}`, "eos_token_id is a string, want an id or a list of ids"},
		"config.json":            {`{"bos_token_id": {"a": 1}}`, "bos_token_id is an object, want an id or a list of ids"},
		"tokenizer_config.json":  {`{"eos_token": [1]}`, "eos_token is a list, want a token, or an object with its content"},
	} {
		_, err := Open(folderOf(t, map[string]string{FileName: string(data), name: c[0]}))
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), c[1]) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: error %v, want %q", name, err, c[1])
		}
	}
}
