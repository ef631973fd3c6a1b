package tokenizer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func open(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encode(t testing.TB, tok *Tokenizer, text string) []int32 {
	t.Helper()
	ids, err := tok.Encode(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func decode(t testing.TB, tok *Tokenizer, ids []int32) string {
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
	for _, name := range []string{"bytes", "gpt2"} {
		tok := open(t, name)
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
	if _, err := Open("gpt3"); err == nil || !strings.Contains(err.Error(), `tokenizer is "gpt3", want bytes, gpt2 or the path of a tokenizer.json`) {
		t.Errorf("gpt3: %v", err)
	}
}

// The ids are those of OpenAI's r50k_base.
func TestGPT2Tokens(t *testing.T) {
	tok := open(t, "gpt2")
	for text, want := range map[string][]int32{
		"Hello, world!":      {15496, 11, 995, 0},
		"Hello world\n\n  x": {15496, 995, 628, 220, 2124},
		"a<|endoftext|>b":    {64, 50256, 65},
		"\xef\xbf\xbd":       {4210},
		"日本":                 {33768, 98, 17312, 105},
		"a\x7fb":             {64, 221, 65},
	} {
		if got := encode(t, tok, text); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// The ids are those of the tokenizers package with OpenAI's files, see
// testdata/make_tokenizers.py: every byte of ASCII, and characters of many kinds.
func TestGPT2Golden(t *testing.T) {
	data, err := os.ReadFile("testdata/gpt2.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []struct {
		Text string
		IDs  []int32
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden) < 400 {
		t.Fatal(len(golden), err)
	}
	tok := open(t, "gpt2")
	for _, c := range golden {
		if got := encode(t, tok, c.Text); !slices.Equal(got, c.IDs) {
			t.Errorf("%q: got %v, want %v", c.Text, got, c.IDs)
		}
	}
}

// The vocabulary and the merges are those of OpenAI's encoder.json and vocab.bpe:
// the hash is that of the vocabulary in the order of its ids, a line each, and of
// the merges after it.
func TestGPT2IsOpenAIs(t *testing.T) {
	var f file
	if err := json.Unmarshal(open(t, "gpt2").file, &f); err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(f.Model.Vocab))
	for name, id := range f.Model.Vocab {
		lines[id] = name
	}
	for _, raw := range f.Model.Merges {
		var pair []string
		if err := json.Unmarshal(raw, &pair); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Join(pair, " "))
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	if got, want := hex.EncodeToString(sum[:]), "9e52e2d09323136cf31fca11e3a80463fe013e9ccfa1c04ac36c8bb825af904d"; got != want || len(lines) != 50257+50000 {
		t.Errorf("%d lines have the hash %s, want %s", len(lines), got, want)
	}
}

// Longer than a piece, read in odd portions.
func TestEncodeReader(t *testing.T) {
	words := []string{"func ", "x", " := ", "\n\t\t", "don't", " 日本", "1234", "<|endoftext|>", "\xff"}
	var long strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for long.Len() < 3*pieceBytes {
		long.WriteString(words[random.IntN(len(words))])
	}
	tok := open(t, "gpt2")
	var got []int32
	size := 0
	err := tok.EncodeReader(t.Context(), oddReader{strings.NewReader(long.String())}, func(ids []int32, text int) error {
		got, size = append(got, ids...), size+text
		return nil
	})
	if err != nil || size != long.Len() || !slices.Equal(got, encode(t, tok, long.String())) {
		t.Errorf("%d bytes in pieces: %d tokens, %v", long.Len(), len(got), err)
	}
}

type oddReader struct{ *strings.Reader }

func (r oddReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 99991)]) }

// A text without white space is one piece, and its ids are right all the same.
func TestEncodeReaderWithoutSpaces(t *testing.T) {
	text := strings.Repeat("日本語のテキスト、", pieceBytes/20)
	tok := open(t, "testdata/tokenizer-words.json")
	var got []int32
	err := tok.EncodeReader(t.Context(), strings.NewReader(text), func(ids []int32, _ int) error { got = append(got, ids...); return nil })
	if err != nil || !slices.Equal(got, encode(t, tok, text)) {
		t.Errorf("%d tokens, %v", len(got), err)
	}
}

// A canceled context ends encoding at once, also while the text is waited for.
func TestEncodeReaderEnds(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	err := open(t, "gpt2").EncodeReader(ctx, r, func([]int32, int) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	failing := iotest.ErrReader(errors.New("the disk failed"))
	if err := open(t, "gpt2").EncodeReader(t.Context(), failing, func([]int32, int) error { return nil }); err == nil || err.Error() != "the disk failed" {
		t.Error(err)
	}
}

// The memory of encoding does not grow with the text.
func TestEncodeReaderStreams(t *testing.T) {
	for _, name := range []string{"bytes", "testdata/tokenizer-words.json"} {
		largest := 0
		text := io.LimitReader(repeated("word\n"), 2<<20)
		if err := open(t, name).EncodeReader(t.Context(), text, func(ids []int32, _ int) error { largest = max(largest, len(ids)); return nil }); err != nil {
			t.Fatal(err)
		}
		if largest > pieceBytes {
			t.Errorf("%s: %d tokens at once, want at most %d", name, largest, pieceBytes)
		}
	}
}

// repeated is a text without end.
type repeated string

func (r repeated) Read(p []byte) (int, error) {
	for i := 0; i < len(p); i += len(r) {
		copy(p[i:], r)
	}
	return len(p), nil
}

// Built-in tokenizers are files too, and the same whichever way they come.
func TestBuiltinFiles(t *testing.T) {
	for _, name := range []string{"bytes", "gpt2"} {
		tok := open(t, name)
		path := filepath.Join(t.TempDir(), FileName)
		if err := os.WriteFile(path, tok.file, 0o666); err != nil {
			t.Fatal(err)
		}
		again := open(t, path)
		if again.ID().SHA256 != tok.ID().SHA256 || again.ID().Kind != "bpe" || tok.ID().Kind != name {
			t.Errorf("%s: %+v, as a file %+v", name, tok.ID(), again.ID())
		}
		for _, text := range hardTexts {
			if !slices.Equal(encode(t, tok, text), encode(t, again, text)) {
				t.Errorf("%s: %q has other ids as a file", name, text)
			}
		}
	}
}
