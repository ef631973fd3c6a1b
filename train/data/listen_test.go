package data

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// All that takes long is told, from its start to its end, and warnings are logged.
func TestPhases(t *testing.T) {
	var phases []Phase
	var log bytes.Buffer
	listener := &Listener{Logger: slog.New(slog.NewTextHandler(&log, nil)), Phase: func(p Phase) {
		if n := len(phases); n > 0 && phases[n-1].Name == p.Name && phases[n-1].Done > 0 {
			phases = phases[:n-1] // the start and the last of each are looked at
		}
		phases = append(phases, p)
	}}
	told := func(want ...Phase) {
		t.Helper()
		if !slices.Equal(phases, want) {
			t.Errorf("phases are\n%v, want\n%v", phases, want)
		}
		phases = nil
	}
	dir, tok := t.TempDir(), openTokenizer(t, "bytes")
	one := check.File(t, "a.txt", bytes.Repeat([]byte("words "), 100))
	two := check.File(t, "b.txt", bytes.Repeat([]byte{0, 1}, 100)) // no text
	_, err := Tokenize(t.Context(), tok, filepath.Join(dir, "m"), 0.25, listener, one, two)
	if err != nil {
		t.Fatal(err)
	}
	told(Phase{"tokenizing", 0, 800, "bytes"}, Phase{"tokenizing", 800, 800, "bytes"}, Phase{"checking tokens", 0, 800, "tokens"}, Phase{"checking tokens", 800, 800, "tokens"})
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") {
		t.Errorf("the log is %q, want one warning", text)
	}
	for path, want := range map[string][]Phase{
		one:                              {{"tokenizing", 0, 600, "bytes"}, {"tokenizing", 600, 600, "bytes"}, {"checking tokens", 0, 600, "tokens"}, {"checking tokens", 600, 600, "tokens"}},
		filepath.Join(dir, "m"+trainExt): {{"checking tokens", 0, 800, "tokens"}, {"checking tokens", 800, 800, "tokens"}},
	} {
		c, err := Open(t.Context(), dataConfig(t, path, 256), listener)
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		told(append([]Phase{{"loading data", 0, 0, ""}, {"loading data", 1, 1, ""}}, want...)...)
	}
}
