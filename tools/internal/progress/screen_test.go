package progress

import (
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// screen is a terminal: it obeys what a display writes, and fails on anything else. Lines
// that are too long go on in the next row, and are broken anew when it becomes narrower.
type screen struct {
	*testing.T
	mu      sync.Mutex
	columns int
	rows    []string // of which the last ones are on the screen
	row, at int      // the cursor
	coded   int      // sequences that were obeyed
}

func newScreen(t *testing.T, columns int) *screen {
	return &screen{T: t, columns: columns, rows: []string{""}}
}

func (s *screen) width() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.columns
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := string(p); text != ""; {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case strings.HasPrefix(text, "\x1b["):
			size = s.obey(text)
		case r == '\n':
			s.down()
			s.at = 0
		case r == '\r':
			s.at = 0
		case r < ' ' || r == utf8.RuneError && size == 1:
			s.Errorf("character %q is written", r)
		default:
			s.put(r)
		}
		text = text[size:]
	}
	return len(p), nil
}

// obey obeys a sequence and returns its length.
func (s *screen) obey(text string) int {
	s.coded++
	end := strings.IndexAny(text, "Jm")
	if end < 0 {
		s.Fatalf("sequence %q", text)
	}
	if text[end] == 'J' {
		s.rows = s.rows[:s.row+1]
		s.rows[s.row] = string([]rune(s.rows[s.row])[:s.at])
	}
	return end + 1
}

func (s *screen) down() {
	s.row++
	if s.row == len(s.rows) {
		s.rows = append(s.rows, "")
	}
}

func (s *screen) put(r rune) {
	if s.at == s.columns {
		s.down()
		s.at = 0
	}
	row := append([]rune(s.rows[s.row]), ' ')
	row[s.at] = r
	s.rows[s.row] = strings.TrimSuffix(string(row), " ")
	if s.at++; r == ' ' && s.at == len(row) {
		s.rows[s.row] = string(row)
	}
}

// resize breaks the last row anew, as terminals do: the cursor stays on its character.
func (s *screen) resize(columns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.columns = columns
	for n := len(s.rows) - 1; ; n++ {
		row := []rune(s.rows[n])
		if len(row) <= columns {
			return
		}
		s.rows[n] = string(row[:columns])
		s.rows = append(s.rows, string(row[columns:]))
	}
}

// types shows keys that are pressed, as terminals do.
func (s *screen) types(keys string) { s.Write([]byte(keys)) }

// shows returns all rows.
func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.rows, "\n")
}
