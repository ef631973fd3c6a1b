package train

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSpec7FileErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"batchsize": 3}`:                     `line 1, column 12: unknown field "batchsize"`,
		`{"Batch_Size": 3}`:                    `unknown field "Batch_Size"`,
		`{"": 3}`:                              `unknown field ""`,
		`{"seed": 1, "keep": 2, "seed": 1}`:    "seed is set twice",
		`{"seed": 1} {}`:                       "line 1, column 13: invalid character '{' after top-level value",
		"{\"seed\": 1}\nx":                     "line 2, column 1: invalid character 'x'",
		`[{"seed": 1}]`:                        "want a JSON object",
		`3`:                                    "want a JSON object",
		``:                                     "is empty",
		"{\"seed\": 1,\n \"keep\"":             "line 2, column 7: unexpected end of JSON input",
		`{"seed":`:                             "unexpected end of JSON input",
		"{\n\"keep\": 2,\n \"seed\": 1,\n}":    "line 4, column 1: invalid character '}'",
		`{"seed": 01}`:                         "invalid character",
		`{"lr_max": NaN}`:                      "line 1, column 12: invalid character 'N'",
		"{\n  \"keep\": 1,\n  \"seed\": -1\n}": "line 3, column 8: seed is -1, want an integer that is not negative",
		"<!DOCTYPE html>\n<html></html>":       "is a web page",
		"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n": "git lfs pull",
		`{"lr_max": 1e999}`:                   "lr_max is 1e999",
		`{"betas": [0.9, null]}`:              "betas is [0.9, null]",
		`{"betas": [0.9, 0.95, 0.99]}`:        "betas is [0.9, 0.95, 0.99]",
		`{"batch_size": 9223372036854775808}`: "batch_size is 9223372036854775808",
	} {
		path := configFile(t, text)
		c, err := ReadConfig(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q and the file's name", text, err, want)
		}
		if c != (Config{}) {
			t.Errorf("%s: returned %+v beside the error", text, c)
		}
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	c := DefaultConfig()
	for assignment, want := range map[string]string{"batch_size": "want key=value", "batchsize=3": `unknown field "batchsize"`} {
		if err := c.Override(assignment); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("override %s: %v", assignment, err)
		}
	}
}

func TestSpec7WriteAndRead(t *testing.T) {
	want := DefaultConfig()
	for _, c := range fieldCases {
		if c.other != "" {
			setField(t, &want, c.name, c.other)
		}
	}
	path := filepath.Join(t.TempDir(), "new", "run", "config.json")
	for range 2 { // the second call replaces the file
		if err := want.Write(path); err != nil {
			t.Fatal(err)
		}
		got, err := ReadConfig(path)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	// What cannot be written leaves the file as it was, and nothing beside it.
	bad := want
	bad.LRMax = math.NaN()
	if err := bad.Write(path); err == nil {
		t.Error("wrote NaN")
	}
	if got, err := ReadConfig(path); err != nil || got != want {
		t.Errorf("after a failed write: got %+v, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, %v", entries, err)
	}
}
