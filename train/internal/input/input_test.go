package input

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// id takes a number or a word.
type id int

func (id) Wanted() string { return "an id" }

func (i *id) UnmarshalJSON(data []byte) error {
	if data[0] != '1' {
		return Mismatch[id](data)
	}
	*i = 1
	return nil
}

func TestUnmarshalErrors(t *testing.T) {
	type inner struct {
		Name string `json:"name"`
		ID   id     `json:"id"`
	}
	type file struct {
		Size  int32          `json:"size"`
		Count uint16         `json:"count"`
		Eps   *float64       `json:"eps"`
		Tied  bool           `json:"tied"`
		List  []inner        `json:"list"`
		Vocab map[string]int `json:"vocab"`
		Inner inner          `json:"inner"`
	}
	for text, want := range map[string]string{
		`{"size": 1, "count": 2, "eps": 1e-5, "tied": true, "list": [{"name": "a", "id": 1}], "vocab": {"a": 1}}`: "",
		`{"size": "1"}`:                  "line 1, column 12: size is a string, want an integer of 32 bits",
		"{\n \"size\": 1.5}":             "line 2, column 12: size is 1.5, want an integer of 32 bits",
		`{"count": -1}`:                  "count is -1, want an integer of 16 bits that is not negative",
		`{"eps": true}`:                  "eps is true or false, want a number",
		`{"tied": 1}`:                    "tied is a number, want true or false",
		`{"list": {}}`:                   "list is an object, want a list",
		`{"list": [1]}`:                  "list is a number, want an object",
		`{"list": [{"name": []}]}`:       "list.name is a list, want a string",
		`{"vocab": [1]}`:                 "vocab is a list, want an object",
		`{"vocab": {"a": "b"}}`:          "vocab is a string, want an integer of 64 bits",
		`{"inner": {"id": "1"}}`:         "inner.id is a string, want an id",
		`{"inner": {"id": {"a": 1}}}`:    "inner.id is an object, want an id",
		`{"inner": {"id": 2}}`:           "inner.id is 2, want an id",
		`[1]`:                            "line 1, column 1: it is a list, want an object",
		"{\"size\": 1,\n \"list\": [{]}": "line 2, column 12: invalid character",
	} {
		var f file
		err := Unmarshal([]byte(text), &f)
		switch {
		case want == "" && err == nil:
		case want == "" || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go "):
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestReadRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		dir:                           "it is a folder, want a file",
		write("empty", " \n"):         "is empty",
		write("long", "12345"):        "has more than 4 bytes",
		write("gz", "\x1f\x8b\x08"):   "gzip",
		write("bom", "\xef\xbb\xbf{"): "",
	} {
		data, err := Read(path, 4)
		if want == "" && (err != nil || string(data) != "{") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, error %v, want %q", path, data, err, want)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), 4); !os.IsNotExist(err) {
		t.Errorf("no file: %v, want %v", err, fs.ErrNotExist)
	}
}
