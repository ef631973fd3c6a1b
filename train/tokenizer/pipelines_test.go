package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// pipelines are what testdata/make_tokenizers.py had the tokenizers package make.
type pipelines struct {
	Texts     []string
	Models    map[string]json.RawMessage
	Pipelines map[string]struct {
		Model      string
		Pre        json.RawMessage `json:"pre_tokenizer"`
		Normalizer json.RawMessage
		Post       json.RawMessage `json:"post_processor"`
		Decoder    json.RawMessage
		Added      json.RawMessage `json:"added_tokens"`
		IDs        [][]int32
		Decoded    []string // where there is a decoder
		Long       string
	}
}

// longText has words of 10,000 bytes.
var longText = strings.Repeat("ab", 5000) + strings.Repeat(" the", 3000) + "\n"

func readPipelines(t testing.TB) (p pipelines, files map[string][]byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/pipelines.json")
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	for name, s := range p.Pipelines {
		files[name] = fmt.Appendf(nil, `{"version":"1.0","added_tokens":%s,"normalizer":%s,"pre_tokenizer":%s,"post_processor":%s,"decoder":%s,"model":%s}`,
			s.Added, s.Normalizer, s.Pre, s.Post, s.Decoder, p.Models[s.Model])
	}
	return p, files
}

// document encodes a text with what stands around it.
func document(t testing.TB, tok *Tokenizer, text string) []int32 {
	t.Helper()
	ids, err := tok.Encode(slices.Clone(tok.Special().Before), text)
	if err != nil {
		t.Fatal(err)
	}
	return append(ids, tok.Special().After...)
}

// Every normalizer, pre-tokenizer, template and option has the ids of the
// tokenizers package.
func TestPipelines(t *testing.T) {
	p, files := readPipelines(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			tok, err := parse(files[name])
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range p.Texts {
				for range 2 { // the second time from memory
					if got, want := document(t, tok, text), p.Pipelines[name].IDs[i]; !slices.Equal(got, want) {
						t.Errorf("%q:\n got %v\nwant %v", text, got, want)
					}
				}
			}
			ids := fmt.Sprint(document(t, tok, longText))
			if sum := sha256.Sum256([]byte(ids[1 : len(ids)-1])); hex.EncodeToString(sum[:]) != p.Pipelines[name].Long {
				t.Errorf("the ids of a long text differ: %.80s", ids)
			}
		})
	}
}

// Decoding token by token gives what the tokenizers package decodes, but for the
// space that it strips from the beginning of a text.
func TestDecoders(t *testing.T) {
	p, files := readPipelines(t)
	tested := 0
	for name, s := range p.Pipelines {
		if s.Decoded == nil {
			continue
		}
		tested++
		tok, err := parse(files[name])
		if err != nil {
			t.Fatal(name, err)
		}
		for i, want := range s.Decoded {
			got := strings.ToValidUTF8(decode(t, tok, s.IDs[i]), "\uFFFD")
			if strings.Contains(string(s.Decoder), "Strip") {
				got = strings.TrimPrefix(got, " ")
			}
			if strings.Contains(string(s.Decoder), "BPEDecoder") {
				got, want = strings.TrimSuffix(got, " "), strings.TrimSuffix(want, " ")
			}
			if got != want {
				t.Errorf("%s: %v: got %q, want %q", name, s.IDs[i], got, want)
			}
		}
	}
	if tested < 3 {
		t.Errorf("%d decoders tested", tested)
	}
}

// Wherever a piece ends, its ids and those of the rest are the ids of all.
func TestPiecesHaveTheIDsOfTheWhole(t *testing.T) {
	p, files := readPipelines(t)
	text := strings.Join(append(hardTexts, p.Texts...), " it's\n  ")
	tokenizers := map[string]*Tokenizer{"gpt2": open(t, "gpt2"), "bytes": open(t, "bytes")}
	for name, file := range files {
		var err error
		if tokenizers[name], err = parse(file); err != nil {
			t.Fatal(name, err)
		}
	}
	whole := 0
	for name, tok := range tokenizers {
		want := document(t, tok, text)
		cuts := map[int]bool{0: true}
		for end := 20; end < len(text); end += 53 {
			cut := tok.pieceEnd([]byte(text[:end]), 0)
			if cuts[cut] {
				continue
			}
			cuts[cut] = true
			got := slices.Clone(tok.Special().Before)
			for _, piece := range []struct {
				text  string
				start bool
			}{{text[:cut], true}, {text[cut:], false}} {
				var err error
				if got, err = tok.encode(got, piece.text, piece.start); err != nil {
					t.Fatal(name, err)
				}
			}
			if got = append(got, tok.Special().After...); !slices.Equal(got, want) {
				t.Errorf("%s: cut before %q after %q: the ids differ", name, text[cut:min(cut+10, len(text))], text[max(cut-10, 0):cut])
			}
		}
		if len(cuts) == 1 {
			if strings.HasPrefix(name, "model ") {
				t.Errorf("%s: needs the whole text", name)
			}
			if !strings.HasPrefix(name, "oniguruma ") { // those look around
				whole++
			}
		} else if len(cuts) < 10 {
			t.Errorf("%s: %d cuts tested", name, len(cuts))
		}
	}
	if whole > 32 { // those with a token over such a place, or a normalizer that looks further
		t.Errorf("%d of %d tokenizers need the whole text", whole, len(tokenizers))
	}
}
