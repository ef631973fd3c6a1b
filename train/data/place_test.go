package data

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

var errCrash = errors.New("the process was killed")

// crashing does so many operations, and none after them.
type crashing struct {
	output.OS
	left *int
}

func (c crashing) Rename(from, to string) error {
	if *c.left--; *c.left < 0 {
		return errCrash
	}
	return c.OS.Rename(from, to)
}

func (c crashing) Remove(path string) error {
	if *c.left--; *c.left < 0 {
		return errCrash
	}
	return c.OS.Remove(path)
}

func (c crashing) SyncDir(dir string) error {
	if *c.left--; *c.left < 0 {
		return errCrash
	}
	return c.OS.SyncDir(dir)
}

// Killed anywhere while token files are replaced, what is left is the old files, the
// new ones, or refused; tokenized again it is the new ones, and nothing else is left.
func TestTokenizeKilled(t *testing.T) {
	tok := openTokenizer(t, "bytes")
	oldText := strings.Repeat("abcdefgh", 40)
	for _, c := range []struct {
		name, text string
		was, is    float64
	}{
		{"longer", strings.Repeat("ABCDEFGH", 50), 0.25, 0.25},
		{"of the same length", strings.Repeat("ABCDEFGH", 40), 0.25, 0.25},
		{"of the same beginning", strings.Repeat("abcdefgh", 30) + strings.Repeat("ABCDEFGH", 10), 0.25, 0.25},
		{"the same, with more held out", oldText, 0.25, 0.5},
		{"nothing held out", strings.Repeat("ABCDEFGH", 50), 0.25, 0},
		{"nothing was held out", strings.Repeat("ABCDEFGH", 50), 0, 0.25},
	} {
		refused := 0
		for k := 0; ; k++ {
			dir := t.TempDir()
			name := filepath.Join(dir, "m")
			if _, err := Tokenize(t.Context(), tok, name, c.was, nil, check.File(t, "a.txt", []byte(oldText))); err != nil {
				t.Fatal(err)
			}
			text, left := check.File(t, "b.txt", []byte(c.text)), k
			call := &tokenizing{Tokenized: Tokenized{TrainPath: name + trainExt, Width: 2}, tok: tok, valPath: name + valExt, files: crashing{left: &left}}
			err := call.run(t.Context(), c.is, []string{text})
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if d, openErr := Open(t.Context(), dataConfig(t, name+trainExt, 256), nil); openErr != nil {
				refused++
				check.Error(t, openErr, "again")
			} else {
				held := func(text string, part float64) int64 { return int64(float64(len(text)) * max(part, 0.1)) }
				var first [1]int32
				if err := d.Train.Read(first[:], 0); err != nil {
					t.Fatal(err)
				}
				n, v := d.Train.Len()+d.Val.Len(), d.Val.Len()
				isOld := n == int64(len(oldText)) && v == held(oldText, c.was) && first[0] == int32(oldText[0])
				isNew := n == int64(len(c.text)) && v == held(c.text, c.is) && first[0] == int32(c.text[0])
				if !isOld && !isNew {
					t.Errorf("%s, killed after %d operations: %d tokens, %d held out, beginning with %d", c.name, k, n, v, first[0])
				}
				d.Close()
			}
			if err == nil {
				break
			}
			if _, err := Tokenize(t.Context(), tok, name, c.is, nil, text); err != nil {
				t.Fatal(err)
			}
			openData(t, dataConfig(t, name+trainExt, 256))
		}
		if refused == 0 {
			t.Errorf("%s: no mixture was refused", c.name)
		}
	}
}

// What a killed call has left is removed by the next; two at once are refused.
func TestTokenizeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	name, tok := filepath.Join(dir, "m"), openTokenizer(t, "bytes")
	text := check.File(t, "a.txt", []byte(someText))
	work := filepath.Join(dir, ".m.train.bin.tokenizing")
	if err := os.MkdirAll(work, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "train"), make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := Tokenize(t.Context(), tok, name, 0, nil, text)
	if err != nil || got.TrainTokens != int64(len(someText)) {
		t.Fatal(got, err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("the folder holds %v, want the tokens and their sidecar; %v", list, err)
	}
	before, err := os.ReadFile(name + trainExt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name+valExt, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = Tokenize(t.Context(), tok, name, 0.5, nil, check.File(t, "b.txt", []byte("others")))
	check.Error(t, err, "m.val.bin is a folder")
	if after, err := os.ReadFile(name + trainExt); err != nil || !slices.Equal(before, after) {
		t.Errorf("a call that failed changed the tokens; %v", err)
	}
}

// A held-out file that says that it was tokenized belongs to one that says so too.
func TestSidecarMissing(t *testing.T) {
	path := tokenized(t, "bytes", someText, 0.25)
	if err := os.Remove(path + sidecarExt); err != nil {
		t.Fatal(err)
	}
	wantDataError(t, dataConfig(t, path, 256), "m.train.bin.json is missing", "m.val.bin belongs to it")
}
