package data

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/hostile"
)

var hostileNPY = hostile.Format{Name: "npy", Read: readHostileNPY, Limit: 16, Seeds: func(t testing.TB) [][]byte { return hostile.Files(t, "testdata/*.npy") }}

func readHostileNPY(_ testing.TB, data []byte) error {
	_, err := parseNPY(bytes.NewReader(data), int64(len(data)))
	return err
}

func TestSpec6HostileNPY(t *testing.T) { hostileNPY.Test(t) }

// FuzzNPY reads mutated NumPy files.
func FuzzNPY(f *testing.F) { hostileNPY.Fuzz(f) }

// FuzzTokenFile opens mutated raw token files, with llm.c's header or without one, and with a sidecar if about is not
// empty, and reads all of them.
func FuzzTokenFile(f *testing.F) {
	path := tokenizedForFuzz(f)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	about, err := os.ReadFile(path + sidecarExt)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, about, 256, 0)
	f.Add(data, []byte{}, 1<<17, 0)
	f.Add(data, []byte("{}"), 256, 2)
	header := make([]byte, llmcHeader, llmcHeader+4)
	copy(header, "\x88\xd8\x34\x01\x01\x00\x00\x00\x02\x00\x00\x00")
	f.Add(append(header, 1, 0, 2, 0), []byte{}, 50257, 0)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data, about []byte, vocab, width int) {
		path := filepath.Join(dir, "x.bin")
		os.Remove(path + sidecarExt)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if len(about) > 0 {
			if err := os.WriteFile(path+sidecarExt, about, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		tokens, err := OpenTokens(path, &TokenOptions{Width: width, Vocab: vocab})
		if err != nil {
			if !fault.Known(err) && (width == 0 || width == 2 || width == 4) {
				t.Fatalf("error %v says neither that the file is damaged, nor mismatched, nor unsupported", err)
			}
			return
		}
		defer tokens.Close()
		if tokens.Len() > int64(len(data)) {
			t.Fatalf("%d tokens in %d bytes", tokens.Len(), len(data))
		}
		ids := make([]int32, tokens.Len())
		err = tokens.Read(ids, 0)
		if checked := tokens.CheckVocab(1<<31 - 1); err == nil && checked != nil && len(ids) > 0 {
			for _, id := range ids {
				if id == 1<<31-1 {
					return
				}
			}
			t.Fatalf("read without an error, checked with %v", checked)
		}
	})
}

// tokenizedForFuzz writes a small token file with its sidecar.
func tokenizedForFuzz(f *testing.F) string {
	dir := f.TempDir()
	text := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(text, []byte("a text of a few words"), 0o666); err != nil {
		f.Fatal(err)
	}
	if _, err := Tokenize(f.Context(), openTokenizer(f, "bytes"), filepath.Join(dir, "a"), 0, nil, text); err != nil {
		f.Fatal(err)
	}
	return filepath.Join(dir, "a"+trainExt)
}
