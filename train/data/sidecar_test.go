package data

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// The sidecar says what a token file is, and is believed only if it is of that file.
func TestSidecar(t *testing.T) {
	path := tokenized(t, "../tokenizer/testdata/tokenizer-digits.json", someText, 0.25)
	c := dataConfig(t, path, 512)
	_, d := openData(t, c)
	if d.Tokenizer == nil || d.Tokenizer.ID() != openTokenizer(t, "../tokenizer/testdata/tokenizer-digits.json").ID() {
		t.Fatalf("the tokenizer is %+v", d.Tokenizer)
	}
	for _, tokenizer := range []string{"bytes", "gpt2", "../tokenizer/testdata/tokenizer-words.json"} {
		c.Tokenizer = tokenizer
		wantDataError(t, c, "another tokenizer (bpe ", tokenizer)
	}
	c.Tokenizer = ""
	c.Vocab = 300
	wantDataError(t, c, "vocabulary of 420, vocab is 300")
	c.Vocab, c.TokenWidth = 512, 4
	wantDataError(t, c, "tokens have 2 bytes, but a token width of 4")
	c.TokenWidth = 0

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	put(path, data[2:])
	wantDataError(t, c, "m.train.bin.json is not of", "tokenize again")
	swapped := slices.Clone(data)
	swapped[0], swapped[2] = swapped[2], swapped[0]
	put(path, swapped)
	wantDataError(t, c, "m.train.bin.json is not of", "checksum")
	put(path, data)
	val := strings.TrimSuffix(path, trainExt) + valExt
	held, err := os.ReadFile(val)
	if err != nil {
		t.Fatal(err)
	}
	other := tokenized(t, "../tokenizer/testdata/tokenizer-digits.json", strings.ToUpper(someText), 0.25)
	for _, ext := range []string{"", sidecarExt} { // a held-out part of another text, whole in itself
		b, err := os.ReadFile(strings.TrimSuffix(other, trainExt) + valExt + ext)
		if err != nil {
			t.Fatal(err)
		}
		put(val+ext, b)
	}
	wantDataError(t, c, "m.val.bin does not belong to", "m.train.bin")
	os.Remove(val)
	wantDataError(t, c, "held-out tokens", "missing")
	os.Remove(val + sidecarExt)
	put(val, held)
	openData(t, c)
	put(path+sidecarExt, []byte("{"))
	wantDataError(t, c, "m.train.bin.json is not a description of a token file")
	put(path+sidecarExt, []byte(`{"format":"lemnos-tokens-1","width":"2"}`))
	wantDataError(t, c, "width is a string, want an integer of 64 bits")
	put(path+sidecarExt, []byte(`{"format":"lemnos-tokens-1","width":3,"vocab":5}`))
	wantDataError(t, c, "which can't be")
}

// The sidecar finds the tokenizer from its own folder, and where it is gone the ids
// are still trained on.
func TestSidecarMoved(t *testing.T) {
	root := t.TempDir()
	data, err := os.ReadFile("../tokenizer/testdata/tokenizer-digits.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "a", "tok"), 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "a", "tok", "tokenizer.json")
	if err := os.WriteFile(file, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Tokenize(t.Context(), openTokenizer(t, file), filepath.Join(root, "a", "m"), 0, nil, check.File(t, "x.txt", []byte(someText))); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	c := dataConfig(t, filepath.Join(root, "b", "m.train.bin"), 512)
	if _, d := openData(t, c); d.Tokenizer == nil {
		t.Error("the tokenizer beside moved data was not found")
	}
	if err := os.Remove(filepath.Join(root, "b", "tok", "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	if _, d := openData(t, c); d.Tokenizer != nil {
		t.Error("a tokenizer that is gone was found")
	}
}

// Tokens that were held out before are not evaluated on any more.
func TestTokenizeAgain(t *testing.T) {
	dir := t.TempDir()
	name, tok := filepath.Join(dir, "m"), openTokenizer(t, "bytes")
	a, b := check.File(t, "a.txt", []byte(strings.Repeat("a", 300))), check.File(t, "b.txt", []byte(strings.Repeat("b", 200)))
	tokenize := func(fraction float64, paths ...string) (Tokenized, error) {
		return Tokenize(t.Context(), tok, name, fraction, nil, paths...)
	}
	if _, err := tokenize(0.1, a); err != nil {
		t.Fatal(err)
	}
	// What fails changes nothing.
	empty := check.File(t, "empty.txt", nil)
	for want, paths := range map[string][]string{"no such file": {a, filepath.Join(dir, "none")}, "folder": {dir}, "would be overwritten": {name + valExt}, "are empty": {empty, empty}} {
		if _, err := tokenize(0, paths...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", paths, err)
		}
	}
	if ids, _ := openData(t, dataConfig(t, name+trainExt, 256)); len(ids) != 300 {
		t.Errorf("%d tokens are left of the first text", len(ids))
	}
	got, err := tokenize(0, b)
	if err != nil || got.ValPath != "" || got.TrainTokens != 200 || got.Bytes != 200 {
		t.Errorf("%+v, %v", got, err)
	}
	ids, d := openData(t, dataConfig(t, name+trainExt, 256))
	if len(ids) != 200 || slices.Contains(ids, 'a') || d.Val.Len() != 20 {
		t.Errorf("%d tokens, %d held out: %v", len(ids), d.Val.Len(), ids)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if want := []string{name + trainExt, name + trainExt + sidecarExt}; !slices.Equal(names, want) || len(hidden) > 0 {
		t.Errorf("the folder holds %q and %q, want %q", names, hidden, want)
	}
	// A held-out file that somebody else left there.
	if err := os.WriteFile(name+valExt, make([]byte, 100), 0o666); err != nil {
		t.Fatal(err)
	}
	wantDataError(t, dataConfig(t, name+trainExt, 256), "m.val.bin does not belong to")
}

// A pipe has no size that is known before.
func TestTokenizePipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if _, err := os.Stat(path); err != nil {
		t.Skip("no files for open pipes here")
	}
	text := strings.Repeat("12345 ", 50_000)
	go func() {
		io.WriteString(w, text)
		w.Close()
	}()
	got, err := Tokenize(t.Context(), openTokenizer(t, "bytes"), filepath.Join(t.TempDir(), "o"), 0, nil, path)
	if err != nil || got.TrainTokens != int64(len(text)) || got.Bytes != int64(len(text)) {
		t.Errorf("%+v of %d bytes, %v", got, len(text), err)
	}
}
