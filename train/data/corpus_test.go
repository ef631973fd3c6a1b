package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// dataConfig says what to open at path.
func dataConfig(t *testing.T, path string, vocab int) Options {
	t.Helper()
	return Options{Path: path, Vocab: vocab, Context: 8, ValFraction: 0.1}
}

// openData returns the ids of all tokens in order.
func openData(t *testing.T, c Options) ([]int32, Corpus) {
	t.Helper()
	d, err := Open(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	var ids []int32
	for _, part := range []*Tokens{d.Train, d.Val} {
		block := make([]int32, part.Len())
		if err := part.Read(block, 0); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, block...)
	}
	return ids, d
}

func wantDataError(t *testing.T, c Options, parts ...string) {
	t.Helper()
	d, err := Open(t.Context(), c, nil)
	d.Close()
	check.Error(t, err, parts...)
}

// someIDs are below vocab and not small.
func someIDs(vocab, n int) []uint32 {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = uint32((i*7919 + 12345) % vocab)
	}
	return ids
}

func wide64(ids []uint32) []int64 {
	wide := make([]int64, len(ids))
	for i, id := range ids {
		wide[i] = int64(id)
	}
	return wide
}

// A raw file is read as what its header, its sidecar or the vocabulary says; what
// can't be told is refused.
func TestTokenFileWidths(t *testing.T) {
	large, small := someIDs(128256, 500), someIDs(50257, 500)
	narrow := make([]uint16, len(small))
	for i, id := range small {
		narrow[i] = uint16(id)
	}
	header := func(magic, version uint32, ids any) []byte {
		h := make([]uint32, 256)
		h[0], h[1], h[2] = magic, version, 500
		return append(little(t, h), little(t, ids.([]uint32))...)
	}
	llmc16 := append(header(20240520, 1, []uint32{}), little(t, narrow)...)
	llmc32 := header(20240801, 7, large)
	for name, c := range map[string]struct {
		data  []byte
		vocab int
		want  []uint32
	}{
		"u32 by the vocabulary":   {little(t, large), 128256, large},
		"u16 by the vocabulary":   {little(t, narrow), 50257, small},
		"llm.c":                   {llmc16, 50257, small},
		"llm.c, large vocabulary": {llmc16, 128256, small},
		"llm.c for Llama 3":       {llmc32, 128256, large},
	} {
		ids, _ := openData(t, dataConfig(t, check.File(t, "a.bin", c.data), c.vocab))
		for i, id := range ids {
			if len(ids) != len(c.want) || uint32(id) != c.want[i] {
				t.Errorf("%s: %d ids, id %d is %d, want %d of %d", name, len(ids), i, id, c.want[i], len(c.want))
				break
			}
		}
	}
	wide := check.File(t, "wide.bin", little(t, small))
	wantDataError(t, dataConfig(t, wide, 50257), "wide.bin", "every second one", "probably have 4 bytes", "token_width")
	for _, width := range []int{0, 2, 4} { // int64, as numpy saves it unless told otherwise
		for _, vocab := range []int{50257, 128256} {
			c := dataConfig(t, check.File(t, "i64.bin", little(t, wide64(small))), vocab)
			c.TokenWidth = width
			wantDataError(t, c, "i64.bin", "probably have 8 bytes", "astype")
		}
	}
	narrower := dataConfig(t, wide, 50257)
	narrower.TokenWidth = 2
	wantDataError(t, narrower, "probably have 4 bytes")
	c := dataConfig(t, wide, 50257)
	c.TokenWidth = 4
	if ids, _ := openData(t, c); ids[1] != int32(small[1]) {
		t.Error("token_width 4 is not heeded")
	}
	wantDataError(t, dataConfig(t, check.File(t, "i64.bin", little(t, []int64{70000, 2, 3, 4, 5, 6, 7, 8, 9})), 128256), "probably have 8 bytes")
	wantDataError(t, dataConfig(t, check.File(t, "cut.bin", llmc32[:len(llmc32)-1]), 128256), "cut.bin", "promises 500 tokens of 4 bytes, but 1999 bytes follow")
	wantDataError(t, dataConfig(t, check.File(t, "cut.bin", llmc32[:100]), 128256), "100 bytes, fewer than its header")
	c.Path = check.File(t, "a.bin", llmc16)
	wantDataError(t, c, "ids of 2 bytes, but a token width of 4")
}

// tokenized writes token files of a text and returns the path of the first.
func tokenized(t *testing.T, tokenizer, text string, fraction float64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "m")
	if _, err := Tokenize(t.Context(), openTokenizer(t, tokenizer), name, fraction, nil, check.File(t, "text.txt", []byte(text))); err != nil {
		t.Fatal(err)
	}
	return name + trainExt
}

var someText = strings.Repeat("One two, three. ", 60)

// Each text is a document with what its tokenizer puts around one.
func TestDocuments(t *testing.T) {
	data, err := os.ReadFile("../tokenizer/testdata/tokenizer-words.json")
	if err != nil {
		t.Fatal(err)
	}
	const template = `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|end|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<|endless|>","type_id":0}}],"special_tokens":{"<|end|>":{"id":"<|end|>","ids":[0],"tokens":["<|end|>"]},"<|endless|>":{"id":"<|endless|>","ids":[1],"tokens":["<|endless|>"]}}}`
	file := check.File(t, "tokenizer.json", bytes.Replace(data, []byte(`"post_processor":null`), []byte(template), 1))
	tok := openTokenizer(t, file)
	want := slices.Concat([]int32{0}, encode(t, tok, someText), []int32{1})
	c := dataConfig(t, check.File(t, "a.txt", []byte(someText)), 512)
	c.Tokenizer = file
	if ids, _ := openData(t, c); !slices.Equal(ids, want) {
		t.Errorf("a text has the ids %v, want %v", ids, want)
	}
	name := filepath.Join(t.TempDir(), "m")
	if _, err := Tokenize(t.Context(), tok, name, 0, nil, c.Path, c.Path); err != nil {
		t.Fatal(err)
	}
	c.Path = name + trainExt
	if ids, _ := openData(t, c); !slices.Equal(ids, slices.Concat(want, want)) {
		t.Errorf("two texts have the ids %v, want %v twice", ids, want)
	}
}

// Which tokenizer counts is decided, never guessed.
func TestWhichTokenizer(t *testing.T) {
	text := check.File(t, "a.txt", []byte(someText))
	c := dataConfig(t, text, 256)
	if _, d := openData(t, c); d.Tokenizer.Name() != "bytes" {
		t.Errorf("a text for a vocabulary of bytes has the tokenizer %s", d.Tokenizer.Name())
	}
	c.Tokenizer = "gpt2"
	wantDataError(t, c, "outside the vocabulary of 256", "the tokenizer, gpt2, has 50257 ids")
	c.Vocab, c.Tokenizer = 50257, ""
	wantDataError(t, c, "a.txt is a text", "no tokenizer is known for the vocabulary of 50257")

	const folder = "../hf/testdata/llama" // without a tokenizer.json
	c.From = folder
	wantDataError(t, c, "a.txt is a text", folder+" has no tokenizer.json", "-tokenizer")
	c.Vocab = 256 // a model of 256 ids of which nobody says that they are bytes
	wantDataError(t, c, "no tokenizer.json")
	c.Tokenizer = "bytes"
	openData(t, c)

	// Nobody knows what ids in a raw file mean; a tokenizer that is not read does not keep from training on them.
	c = dataConfig(t, check.File(t, "x.bin", little(t, []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})), 256)
	c.Context, c.ValFraction = 4, 0.5
	if _, d := openData(t, c); d.Tokenizer != nil {
		t.Errorf("ids of a raw file have the tokenizer %s", d.Tokenizer.Name())
	}
	c.Tokenizer = check.File(t, "tokenizer.json", []byte(`{"model":{"type":"Unigram"}}`))
	if _, d := openData(t, c); d.Tokenizer != nil {
		t.Error("a Unigram tokenizer was opened")
	}
	c.Tokenizer = "none.json"
	wantDataError(t, c, "none.json")
}

// What does not look like a text is named.
func TestNotText(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, someText)
	z.Close()
	little16, big16 := little(t, utf16.Encode([]rune(someText))), new(bytes.Buffer)
	binary.Write(big16, binary.BigEndian, utf16.Encode([]rune("\ufeff"+someText)))
	npyFile, err := os.ReadFile("testdata/u2.npy")
	if err != nil {
		t.Fatal(err)
	}
	latin1 := bytes.Repeat([]byte("\xe4rger \xfcber K\xe4se "), 20)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"text":     {[]byte(someText), ""},
		"japanese": {[]byte(strings.Repeat("日本語", 100)), ""},
		"cut":      {[]byte(strings.Repeat("日本語", 100))[:899], ""},
		"gzip":     {zipped.Bytes(), "gzip"},
		"utf-16":   {append([]byte("\xff\xfe"), little16...), "UTF-16"},
		"be":       {big16.Bytes(), "UTF-16"},
		"no bom":   {little16, "UTF-16 without a byte order mark"},
		"npz":      {[]byte("PK\x03\x04 and so on"), ".npz"},
		"npy":      {npyFile, "NumPy"},
		"parquet":  {[]byte("PAR1 and so on"), "Parquet"},
		"pdf":      {[]byte("%PDF-1.7 and so on"), "PDF"},
		"binary":   {bytes.Repeat([]byte("abc\x00\x00def\x01"), 30), "binary"},
		"latin 1":  {latin1, "iconv"},
	} {
		var log bytes.Buffer
		f, size, err := openText(check.File(t, "x", c.data), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, c.data) || size != int64(len(c.data)) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(c.data), err)
		}
		f.Close()
		if warned := log.Len() > 0; warned != (c.want != "") || !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: the log is %q, want %q", name, log.String(), c.want)
		}
	}
	c := dataConfig(t, check.File(t, "x.txt", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")), 256)
	wantDataError(t, c, "x.txt is a git-lfs pointer", "git lfs pull")
}

// The held-out part of a short text is too short: both numbers and where they come
// from are said.
func TestShortData(t *testing.T) {
	c := dataConfig(t, check.File(t, "short.txt", bytes.Repeat([]byte("x"), 50)), 256)
	wantDataError(t, c, "the held-out part of", "short.txt has 5 tokens", "context length 8 needs 9", "val_fraction (0.1) of 50 tokens")
	var byHand Corpus
	if err := byHand.Close(); err != nil {
		t.Error(err)
	}
}

// Loading ends with its context, also in the middle of a text.
func TestOpenEnds(t *testing.T) {
	path := check.File(t, "a.txt", bytes.Repeat([]byte("some words of a text\n"), 1<<20))
	c := dataConfig(t, path, 50257)
	c.Tokenizer = "gpt2"
	openTokenizer(t, "gpt2")
	ctx, cancel := context.WithCancel(t.Context())
	var last Phase
	_, err := Open(ctx, c, &Listener{Phase: func(p Phase) {
		if last = p; p.Name == "tokenizing" && p.Done > 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || last.Name != "tokenizing" || last.Done > last.Total/2 {
		t.Errorf("canceled while tokenizing: %v at %+v", err, last)
	}
	if _, err := Tokenize(ctx, openTokenizer(t, "gpt2"), filepath.Join(t.TempDir(), "m"), 0, nil, path); !errors.Is(err, context.Canceled) {
		t.Errorf("tokenizing: %v", err)
	}
	tokens := NewTokens(make([]uint16, 1<<20))
	if _, err := tokens.check(ctx, 10, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("checking: %v", err)
	}
}
