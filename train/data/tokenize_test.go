package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/tokenizer"
)

func openTokenizer(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encode(t *testing.T, tok *tokenizer.Tokenizer, text string) []int32 {
	t.Helper()
	ids, err := tok.Encode(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func decode(t *testing.T, tok *tokenizer.Tokenizer, ids []int32) string {
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

func TestTokenizeFilesForOpen(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("One two, three.\n", 40)
	var paths []string
	for i, part := range []string{text[:100], text[100:]} {
		paths = append(paths, filepath.Join(dir, string(rune('a'+i))+".txt"))
		if err := os.WriteFile(paths[i], []byte(part), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bytes", "gpt2"} {
		tok := openTokenizer(t, name)
		got, err := Tokenize(t.Context(), tok, filepath.Join(dir, name), 0.25, nil, paths...)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(len(text)); got.Bytes != want || got.Width != 2 || got.TrainTokens == 0 || got.ValTokens == 0 {
			t.Errorf("%s: %+v of %d bytes", name, got, want)
		}
		cfg := Options{ValFraction: 0.1}
		cfg.Path, cfg.Vocab, cfg.Context, cfg.Tokenizer = got.TrainPath, tok.Vocab(), 8, name
		d, err := Open(t.Context(), cfg, nil)
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
		cfg.Path = paths[1]
		if d, err = Open(t.Context(), cfg, nil); err != nil {
			t.Fatal(err)
		}
		if n := d.Train.Len() + d.Val.Len(); n != int64(len(encode(t, tok, text[100:]))) {
			t.Errorf("%s: the text has %d tokens", name, n)
		}
		all, err := Tokenize(t.Context(), tok, filepath.Join(dir, "all"), 0, nil, paths[1])
		if err != nil || all.ValPath != "" || all.ValTokens != 0 {
			t.Errorf("%s: nothing held out: %+v, %v", name, all, err)
		}
		cfg.Path = all.TrainPath
		if d, err = Open(t.Context(), cfg, nil); err != nil || d.Train.Len()+d.Val.Len() != all.TrainTokens || d.Val.Len() == 0 {
			t.Errorf("%s: %s alone: %v", name, cfg.Path, err)
		}
		d.Close()
	}

	bytesTok := openTokenizer(t, "bytes")
	_, err := Tokenize(t.Context(), bytesTok, filepath.Join(dir, "x"), 1, nil, paths...)
	check.Error(t, err, "val_fraction is 1")
	_, err = Tokenize(t.Context(), bytesTok, dir+string(filepath.Separator), 0.1, nil, paths...)
	check.Error(t, err, "names no file")
	_, err = Tokenize(t.Context(), bytesTok, filepath.Join(dir, "x"), 0.1, nil, filepath.Join(dir, "none"))
	check.Error(t, err, "none")
}
