package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// maxTOML bounds the bytes of a TOML file: all fields with a page of comments each.
const maxTOML = 256 << 10

// written begins comments that [Composed.TOML] writes anew each time.
const written = "#:"

// statement is a key of a TOML file with what belongs to it.
type statement struct {
	key      string
	at       int64    // offset of the key; -1 after the last one
	comments []string // lines above it, and behind it
}

// parseTOML returns the fields that a flat TOML file sets, in their order, and its comments:
// those after the last key are a statement without one.
func parseTOML(data []byte) ([]setting, []statement, error) {
	if len(data) > maxTOML {
		return nil, nil, fmt.Errorf("has more than %d bytes", maxTOML)
	}
	// The library takes time and memory beyond all measure for tables of many levels.
	statements, err := scanTOML(string(data))
	if err != nil {
		return nil, nil, err
	}
	var values map[string]any
	if _, err := toml.Decode(string(data), &values); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			at := int64(syntax.Position.Start)
			err = fmt.Errorf("%s: %s", input.Place(data, at), syntax.Message)
		}
		return nil, nil, fault.Damaged(err)
	}
	var all []setting
	for _, s := range statements {
		if s.at < 0 {
			continue
		}
		raw, err := rawTOML(values[s.key])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s: %w", input.Place(data, s.at), s.key, err)
		}
		all = append(all, setting{s.key, raw, input.Place(data, s.at)})
	}
	return all, statements, nil
}

// rawTOML is a value as JSON, and as a file may say it where JSON has no word for it.
func rawTOML(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return string(input.Quote(v)), nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return "", fmt.Errorf("is %v, want a number; no clipping is %q", v, "none")
		}
		return tomlFloat(v), nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			var err error
			if parts[i], err = rawTOML(v[i]); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ",") + "]", nil
	}
	if _, is := value.(time.Time); is {
		return "", errors.New("is a date or a time, which no field is: a text stands in quotes")
	}
	raw, err := json.Marshal(value)
	return string(raw), err
}

// tomlFloat writes the shortest number that is read as v, and as no integer.
func tomlFloat(v float64) string {
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// tomlValue writes a field's value; what TOML has no number for is a string that
// [setting.apply] takes for it.
func tomlValue(value any) (string, error) {
	switch v := value.(type) {
	case float64:
		return tomlFloat(v), nil
	case ClipNorm:
		if math.IsInf(float64(v), 1) {
			return `"none"`, nil
		}
		return tomlFloat(float64(v)), nil
	case Betas:
		return "[" + tomlFloat(v[0]) + ", " + tomlFloat(v[1]) + "]", nil
	case uint64:
		if v > math.MaxInt64 {
			return fmt.Sprintf("%q", fmt.Sprint(v)), nil
		}
	case Custom:
		return tomlString(v.String())
	case string:
		return tomlString(v)
	}
	return fmt.Sprint(value), nil
}

// tomlString quotes a string as JSON does, which TOML reads but for one character.
func tomlString(s string) (string, error) {
	if strings.ToValidUTF8(s, "") != s {
		return "", fmt.Errorf("is %q, which is no UTF-8, and so nothing that a file of a configuration can hold", s)
	}
	return strings.ReplaceAll(string(input.Quote(s)), "\x7f", `\u007f`), nil
}

// scanTOML finds keys and comments, and refuses tables. What is no TOML is left to the
// library to say.
func scanTOML(text string) ([]statement, error) {
	s := tomlScanner{text: text}
	var all []statement
	var pending []string
	for s.blank(); s.i < len(text); s.blank() {
		at := s.i
		switch text[s.i] {
		case '#':
			pending = append(pending, s.comment())
			continue
		case '[':
			return nil, s.tables(at)
		}
		key := s.key()
		if s.i < len(text) && text[s.i] == '.' {
			return nil, s.tables(at)
		}
		comments, err := s.value()
		if err != nil {
			return nil, err
		}
		all = append(all, statement{key, int64(at), append(pending, comments...)})
		pending = nil
	}
	if pending != nil {
		all = append(all, statement{at: -1, comments: pending})
	}
	return all, nil
}

// tomlScanner reads a text from offset i on.
type tomlScanner struct {
	text string
	i    int
}

func (s *tomlScanner) tables(at int) error {
	return fmt.Errorf("%s: a configuration has no tables: it is lines of key = value", input.Place([]byte(s.text), int64(at)))
}

// blank skips white space, line ends included.
func (s *tomlScanner) blank() {
	for s.i < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.i]) >= 0 {
		s.i++
	}
}

// comment reads to the end of the line.
func (s *tomlScanner) comment() string {
	line, _, _ := strings.Cut(s.text[s.i:], "\n")
	s.i += len(line)
	return strings.TrimRight(line, " \t\r")
}

// key reads a key, without its quotes, and the space after it.
func (s *tomlScanner) key() (name string) {
	if c := s.text[s.i]; c == '"' || c == '\'' {
		start := s.i
		s.quoted()
		name = s.text[start:s.i]
		if c == '"' {
			var plain string
			if json.Unmarshal([]byte(name), &plain) == nil { // else it is no field's name
				name = plain
			}
		} else {
			name = strings.Trim(name, "'")
		}
	} else {
		end := strings.IndexAny(s.text[s.i:], " \t\r\n=.#\"'[]{},")
		if end < 0 {
			end = len(s.text) - s.i
		}
		name = s.text[s.i : s.i+end]
		s.i += end
	}
	for s.i < len(s.text) && (s.text[s.i] == ' ' || s.text[s.i] == '\t') {
		s.i++
	}
	return name
}

// value reads = and a value to the end of its last line, and returns the comments in it.
func (s *tomlScanner) value() (comments []string, err error) {
	for depth := 0; s.i < len(s.text); {
		switch c := s.text[s.i]; c {
		case '"', '\'':
			s.quoted()
			continue
		case '#':
			comments = append(comments, s.comment())
			continue
		case '{':
			return nil, s.tables(s.i)
		case '[':
			if depth++; depth > 2 {
				return nil, fmt.Errorf("%s: lists in lists in a list", input.Place([]byte(s.text), int64(s.i)))
			}
		case ']':
			depth--
		case '\n':
			if depth <= 0 {
				return comments, nil
			}
		}
		s.i++
	}
	return comments, nil
}

// quoted reads a string, of one line or of several.
func (s *tomlScanner) quoted() {
	quote := s.text[s.i : s.i+1]
	if strings.HasPrefix(s.text[s.i:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	for s.i += len(quote); s.i < len(s.text); s.i++ {
		switch {
		case s.text[s.i] == '\\' && quote[0] == '"':
			s.i++
		case s.text[s.i] == '\n' && len(quote) == 1: // the library says so
			return
		case strings.HasPrefix(s.text[s.i:], quote):
			s.i += len(quote)
			for len(quote) == 3 && s.i < len(s.text) && s.text[s.i] == quote[0] {
				s.i++ // a quote or two may stand before the three
			}
			return
		}
	}
	s.i = min(s.i, len(s.text))
}
