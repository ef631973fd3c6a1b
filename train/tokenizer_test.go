package train

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func tokenizer(t *testing.T, name string) Tokenizer {
	t.Helper()
	tok, err := NewTokenizer(name)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encode(t *testing.T, tok Tokenizer, text string) []int32 {
	t.Helper()
	ids, err := tok.Encode(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func decode(t *testing.T, tok Tokenizer, ids []int32) string {
	t.Helper()
	var text []byte
	for _, id := range ids {
		var err error
		if text, err = tok.Decode(text, id); err != nil {
			t.Fatal(err)
		}
	}
	return string(text)
}

// texts that are hard to cut and to give back.
var hardTexts = []string{
	"", " ", "\n", "Hello, world!", "it's  we'll\n\n\tx   ", " leading", "a\u00a0b \u0085c", "日本語のテキスト、空白なし",
	"𝒳 é e\u0301 \U0010ffff", "\xff", "a\xff\xfe \xe4\xbdb\xe4", "\xed\xa0\x80", "�", "<|endoftext|>", "a<|endoftext|>\n b <|endoftext|>",
	"<|endoftext", "x1234 5y\r\nz", strings.Repeat("ab", 300), strings.Repeat(" ", 300) + "x", "\x00\x01",
}

func TestTokenizersGiveTextBack(t *testing.T) {
	for _, name := range tokenizers {
		tok := tokenizer(t, name)
		for _, text := range hardTexts {
			ids := encode(t, tok, text)
			if got := decode(t, tok, ids); got != text {
				t.Errorf("%s: %q came back as %q", name, text, got)
			}
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Vocab() {
					t.Errorf("%s: %q has token %d", name, text, id)
				}
			}
		}
		for id := range tok.Vocab() {
			if text := decode(t, tok, []int32{int32(id)}); text == "" {
				t.Errorf("%s: token %d is empty", name, id)
			}
		}
		for _, id := range []int32{-1, int32(tok.Vocab())} {
			if _, err := tok.Decode(nil, id); err == nil || !strings.Contains(err.Error(), "outside the tokenizer's") {
				t.Errorf("%s: token %d: %v", name, id, err)
			}
		}
	}
	if _, err := NewTokenizer("gpt3"); err == nil || !strings.Contains(err.Error(), `tokenizer is "gpt3", want bytes or gpt2 or a tokenizer.json`) {
		t.Errorf("gpt3: %v", err)
	}
}

// The ids are those of OpenAI's r50k_base.
func TestGPT2Tokens(t *testing.T) {
	tok := tokenizer(t, "gpt2")
	for text, want := range map[string][]int32{
		"Hello, world!":      {15496, 11, 995, 0},
		"Hello world\n\n  x": {15496, 995, 628, 220, 2124},
		"a<|endoftext|>b":    {64, 50256, 65},
		"\xef\xbf\xbd":       {4210},
		"日本":                 {33768, 98, 17312, 105},
	} {
		if got := encode(t, tok, text); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// Wherever a piece ends, its tokens and those of the rest are the tokens of all.
func TestPiecesHaveTheTokensOfTheWhole(t *testing.T) {
	text := strings.Join(hardTexts, " it's\n  ")
	for _, name := range []string{"gpt2", "testdata/tokenizer-digits.json", "testdata/tokenizer-split.json"} {
		tok := tokenizer(t, name)
		whole := encode(t, tok, text)
		cuts := map[int]bool{}
		for end := 20; end < len(text); end++ {
			cut := pieceEnd([]byte(text[:end]))
			if cuts[cut] {
				continue
			}
			cuts[cut] = true
			if got := encode(t, tok, text[cut:]); !slices.Equal(append(encode(t, tok, text[:cut]), got...), whole) {
				t.Errorf("%s: cut before %q after %q: the tokens differ", name, text[cut:min(cut+10, len(text))], text[max(cut-10, 0):cut])
			}
		}
		if len(cuts) < 30 {
			t.Errorf("%s: %d cuts tested", name, len(cuts))
		}
	}
	for text, want := range map[string]int{"abc": 3, "日本": 6, "日本\xe8\xaa": 6, "ab c": 2, "ab  ": 2, "  ": 2, "x\u00a0 y": 5} {
		if got := pieceEnd([]byte(text)); got != want {
			t.Errorf("the piece of %q ends at %d, want %d", text, got, want)
		}
	}

	// Longer than a piece, read in odd portions.
	words := []string{"func ", "x", " := ", "\n\t\t", "don't", " 日本", "1234", "<|endoftext|>", "\xff"}
	var long strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for long.Len() < pieceBytes+pieceBytes/4 {
		long.WriteString(words[random.IntN(len(words))])
	}
	tok := tokenizer(t, "gpt2")
	var got []int32
	err := encodeText(oddReader{strings.NewReader(long.String())}, tok, func(ids []int32) error { got = append(got, ids...); return nil })
	if err != nil || !slices.Equal(got, encode(t, tok, long.String())) {
		t.Errorf("%d bytes in pieces: %d tokens, %v", long.Len(), len(got), err)
	}
}

type oddReader struct{ *strings.Reader }

func (r oddReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 99991)]) }

func TestTokenizeFilesForOpenData(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("One two, three.\n", 40)
	var paths []string
	for i, part := range []string{text[:100], text[100:]} {
		paths = append(paths, filepath.Join(dir, string(rune('a'+i))+".txt"))
		if err := os.WriteFile(paths[i], []byte(part), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range tokenizers {
		tok := tokenizer(t, name)
		got, err := TokenizeFiles(tok, filepath.Join(dir, name), 0.25, paths...)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(len(text)); got.Bytes != want || got.Width != 2 || got.TrainTokens == 0 || got.ValTokens == 0 {
			t.Errorf("%s: %+v of %d bytes", name, got, want)
		}
		cfg := DefaultConfig()
		cfg.Data, cfg.Vocab, cfg.ContextLen, cfg.Tokenizer = got.TrainPath, tok.Vocab(), 8, name
		d, err := OpenData(cfg)
		if err != nil {
			t.Fatal(err)
		}
		parts := make([]string, 2)
		for i, tokens := range []*Tokens{d.Train, d.Val} {
			ids := make([]int32, tokens.Len())
			if err := tokens.Read(ids, 0); err != nil {
				t.Fatal(err)
			}
			parts[i] = decode(t, tok, ids)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if parts[0]+parts[1] != text || len(parts[1]) != len(text)/4 {
			t.Errorf("%s: the parts have %d and %d bytes, the text %d", name, len(parts[0]), len(parts[1]), len(text))
		}

		// The same text without the tool, and with one file only.
		cfg.Data = paths[1]
		if d, err = OpenData(cfg); err != nil {
			t.Fatal(err)
		}
		if n := d.Train.Len() + d.Val.Len(); n != int64(len(encode(t, tok, text[100:]))) {
			t.Errorf("%s: the text has %d tokens", name, n)
		}
		all, err := TokenizeFiles(tok, filepath.Join(dir, "all"), 0, paths[1])
		if err != nil || all.ValPath != "" || all.ValTokens != 0 {
			t.Errorf("%s: nothing held out: %+v, %v", name, all, err)
		}
		cfg.Data = all.TrainPath
		if d, err = OpenData(cfg); err != nil || d.Train.Len()+d.Val.Len() != all.TrainTokens || d.Val.Len() == 0 {
			t.Errorf("%s: %s alone: %v", name, cfg.Data, err)
		}
		d.Close()
	}

	bytesTok := tokenizer(t, "bytes")
	_, err := TokenizeFiles(bytesTok, filepath.Join(dir, "x"), 1, paths...)
	wantError(t, err, "val_fraction is 1")
	_, err = TokenizeFiles(bytesTok, filepath.Join(dir, "x"), 0.1, filepath.Join(dir, "none"))
	wantError(t, err, "none")
}

// The memory of encoding does not grow with the text.
func TestTokenizeStreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.txt")
	if err := os.WriteFile(path, bytes.Repeat([]byte("word\n"), 4<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	largest := 0
	if err := encodeText(file, byteTokens{}, func(ids []int32) error { largest = max(largest, len(ids)); return nil }); err != nil {
		t.Fatal(err)
	}
	if largest > pieceBytes {
		t.Errorf("%d tokens at once, want at most %d", largest, pieceBytes)
	}
}
