package tokenizer

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// reversible reports whether a file's tokens say all of a text: nothing is removed,
// put in front or replaced.
func (f *file) reversible() bool {
	m := f.Model
	if f.Normalizer != nil || f.Pre == nil || f.Decoder != nil && f.Decoder.Type != "ByteLevel" || m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "" ||
		m.Unknown != nil || m.Fallback {
		return false
	}
	stages := append([]stage{*f.Pre}, f.Pre.Pretokenizers...)
	last := stages[len(stages)-1]
	for i, s := range stages {
		switch {
		case i == 0 && s.Type == "Sequence", s.Type == "Digits":
		case s.Type == "Split" && s.Behavior != "Removed", s.Type == "Punctuation" && s.Behavior != "Removed":
		case s.Type == "ByteLevel" && !yes(s.PrefixSpace) && i == len(stages)-1:
		default:
			return false
		}
	}
	return last.Type == "ByteLevel" && !slices.ContainsFunc(f.Added, func(a addedToken) bool { return a.Left || a.Right })
}

// checkFile reads a file that may be hostile and encodes a text with it.
func checkFile(t testing.TB, data []byte, text string) (read bool) {
	var f file
	if json.Unmarshal(data, &f) != nil {
		return false
	}
	if s := string(data); strings.Contains(s, `"Regex"`) && !slices.ContainsFunc(patterns, func(p string) bool { return strings.Contains(s, p) }) {
		return false // a made-up expression can take its ten seconds for each place of the text
	}
	tok, err := parse(data)
	if err != nil {
		if !fault.Known(err) {
			t.Fatalf("error %v says neither that the file is damaged nor unsupported", err)
		}
		return false
	}
	ids, err := tok.Encode(nil, text)
	if err != nil {
		return true
	}
	got := decode(t, tok, ids)
	if f.reversible() && got != text {
		t.Fatalf("%q came back as %q from %v", text, got, ids)
	}
	for _, id := range ids {
		if id < 0 || int(id) >= tok.Vocab() {
			t.Fatalf("id %d of %d", id, tok.Vocab())
		}
	}
	return true
}

// patterns are the expressions of the fixtures, as JSON has them.
var patterns = func() (all []string) {
	data, err := os.ReadFile("testdata/pipelines.json")
	if err != nil {
		panic(err)
	}
	for _, part := range strings.Split(string(data), `"Regex":`)[1:] {
		var pattern json.RawMessage
		if err := json.NewDecoder(strings.NewReader(part)).Decode(&pattern); err == nil {
			all = append(all, `"Regex":`+string(pattern))
		}
	}
	return all
}()

// smallFiles are the fixtures with a vocabulary of a few tokens, and those with
// theirs.
func smallFiles(t testing.TB) (files []string) {
	p, whole := readPipelines(t)
	letters := make(map[string]int)
	for _, l := range byteLetters {
		letters[l] = len(letters)
	}
	letters["th"], letters["the"], letters["Ġthe"] = 256, 257, 258
	vocab, err := json.Marshal(letters)
	if err != nil {
		t.Fatal(err)
	}
	small := `{"type":"BPE","vocab":` + string(vocab) + `,"merges":[["t","h"],["th","e"],["Ġ","the"]]}`
	for name, s := range p.Pipelines {
		text := string(whole[name])
		files = append(files, text)
		if s.Model == "bytes" {
			files = append(files, strings.Replace(text, string(p.Models["bytes"]), small, 1))
		}
	}
	slices.Sort(files)
	return files
}

// FuzzTokenizerJSON reads mutated files and encodes texts with them.
func FuzzTokenizerJSON(f *testing.F) {
	for i, file := range smallFiles(f) {
		if len(file) < 6000 {
			f.Add([]byte(file), hardTexts[i%len(hardTexts)])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if len(text) < 1<<12 {
			checkFile(t, data, text)
		}
	})
}

// FuzzEncode encodes any text with the built-in tokenizers and one of each kind.
func FuzzEncode(f *testing.F) {
	for _, text := range hardTexts {
		f.Add(text)
	}
	var tokenizers []*Tokenizer
	for _, name := range []string{"gpt2", "bytes", "testdata/tokenizer-words.json", "testdata/tokenizer-digits.json", "testdata/tokenizer-split.json"} {
		tokenizers = append(tokenizers, open(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range tokenizers {
			ids, err := tok.Encode(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			if got := decode(t, tok, ids); got != text {
				t.Errorf("%s: %q came back as %q", tok.Name(), text, got)
			}
		}
	})
}

// Mutated files are refused or do what they say.
func TestHostileFiles(t *testing.T) {
	files := smallFiles(t)
	random := rand.New(rand.NewPCG(6, 28))
	read, rounds := 0, 2000
	for range rounds {
		data := []byte(files[random.IntN(len(files))])
		for range 1 + random.IntN(4) {
			at := random.IntN(len(data))
			switch from := random.IntN(len(files[0])); random.IntN(4) {
			case 0:
				data[at] = `"{}[],:09-\ntrue`[random.IntN(15)]
			case 1:
				data = slices.Delete(data, at, min(len(data), at+1+random.IntN(30)))
			case 2:
				data = slices.Insert(data, at, []byte(files[0][from:min(len(files[0]), from+20)])...)
			case 3:
				copy(data[at:], data[random.IntN(len(data)):])
			}
		}
		if checkFile(t, data, hardTexts[random.IntN(len(hardTexts))]) {
			read++
		}
	}
	if read == 0 || read == rounds {
		t.Errorf("%d of %d files were read: the test shows nothing", read, rounds)
	}
}
