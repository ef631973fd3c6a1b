package benchcmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// Rows that an earlier file has are compared with it, kernels and steps; rows that it has not, or has as wrong, are not.
func TestCompare(t *testing.T) {
	dev := vktest.Open(t)
	old := filepath.Join(t.TempDir(), "old.json")
	first := config{quick: true, mib: 1, json: old}
	steps := models(first)[:1]
	kernels := []benchmark{fillCase(ops.F32, 1024), addCase(4096)}
	all := func(string) bool { return true }
	measureRows := func(c config, wanted func(string) bool) (string, error) {
		var table bytes.Buffer
		r, err := newReport(&table, c, dev.Info())
		if err != nil {
			return "", err
		}
		if err := measureAll(dev, c, kernels, steps, wanted, r); err != nil {
			t.Fatal(err)
		}
		return table.String(), r.close()
	}
	if table, err := measureRows(first, all); err != nil || strings.Contains(table, "x\n") {
		t.Fatalf("without -compare: %v\n%s", err, table)
	}
	edit := func(name, from, to string) string {
		t.Helper()
		file, err := os.ReadFile(old)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(file), from, to, 1)
		if changed == string(file) {
			t.Fatalf("the file has no %s:\n%s", from, file)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	second := config{quick: true, mib: 1, compare: old}
	rows := len(ceilingCases(second, dev.Info())) + 3
	table, err := measureRows(second, all)
	if err != nil || strings.Count(table, "x\n") != rows || !strings.Contains(table, "\nspeed-up ") {
		t.Errorf("%d rows to compare: %v\n%s", rows, err, table)
	}
	second.compare = edit("wrong", `{"name":"fill f32"`, `{"wrong":"is 1, want 2","name":"fill f32"`)
	if table, err = measureRows(second, all); err != nil || strings.Count(table, "x\n") != rows-1 {
		t.Errorf("%d rows to compare: %v\n%s", rows-1, err, table)
	}
	second.compare = edit("another", `{"name":"fill f32"`, `{"name":"no such row"`)
	onlyFill := func(row string) bool { return strings.HasPrefix(row, "fill") }
	if _, err = measureRows(second, onlyFill); err == nil || !strings.Contains(err.Error(), "has none of these rows") {
		t.Errorf("nothing to compare: %v", err)
	}

	second.compare = edit("device", `{"device":"`, `{"device":"Another `)
	if _, err := measureRows(second, all); err == nil || !strings.Contains(err.Error(), `is of "Another `) || !strings.Contains(err.Error(), "-any-device") {
		t.Errorf("times of another device: %v", err)
	}
	second.anyDevice = true
	if table, err := measureRows(second, all); err != nil || strings.Count(table, "x\n") != rows {
		t.Errorf("times of another device, asked for: %v\n%s", err, table)
	}
}

func TestSpeedUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"device":"d","driver":"1","mib":64}
{"name":"a","shape":"[1]","ns":300,"runs":3}
{"name":"step","shape":"[2]","model":"m","ns":50,"kernels":[{"kernel":"k","dispatches":1,"ns":2}]}
`)
	e, err := readEarlier(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, shape string
		nanos       float64
		want        string
	}{{"a", "[1]", 200, "1.50x"}, {"a", "[1]", 600, "0.50x"}, {"step", "[2]", 50, "1.00x"}, {"a", "[2]", 200, ""}, {"b", "[1]", 200, ""}} {
		if got := e.speedUp(test.name, test.shape, test.nanos); got != test.want {
			t.Errorf("%s %s in %g ns: %q, want %q", test.name, test.shape, test.nanos, got, test.want)
		}
	}
	for _, text := range []string{"", "{", "[]", `{"device":"d"}`, `{"name":"a","shape":"[1]","ns":300}`} {
		write(text)
		if _, err := readEarlier(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := readEarlier(file + "x"); err == nil {
		t.Error("no file: no error")
	}
}
