//go:build unix

package page

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Runs are listed and read whatever they are called; what is no run is not listed, and what
// can't be read is an answer that quotes no file.
func TestOtherRuns(t *testing.T) {
	cfg := testConfig(t)
	in := func(names ...string) string { return filepath.Join(append([]string{cfg.CkptDir}, names...)...) }
	hostile := []string{"<script>alert(1)<script>", `"><img src=x>`, "a\nb", "%2e%2e", "..%2f", " ", "-", "été", "\xff\xfe", strings.Repeat("n", 200), "a&name=b", "\u202egnp.js"}
	for _, name := range hostile {
		write(t, in(name, "metrics.jsonl"), `{"step":1,"loss":2}`, `{"step":5,"val_loss":1}`)
		write(t, in(name, "config.json"), `{"seed":18446744073709551615,"run_name":"<b>","betas":[0.9,0.95]}`)
	}
	write(t, in("live", "metrics.jsonl"), `{"step":1}`)
	write(t, in("damaged", "metrics.jsonl"), "secret words")
	write(t, in("no config", "metrics.jsonl"), `{"step":1,"loss":2}`)
	write(t, in("no config", "config.json"), "secret words")
	write(t, in("backwards", "metrics.jsonl"), `{"step":5,"loss":2}`, `{"step":3,"loss":2}`, `{"step":6,"loss":1e999}`)
	write(t, in("file"), "")
	write(t, in("empty", "other.txt"), "")
	if err := os.MkdirAll(in("folder", "metrics.jsonl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(in("pipe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(in("pipe", "metrics.jsonl"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := listen(t, "127.0.0.1:0", cfg)
	s := open(t, p, "")
	s.until(func() bool { return s.others != nil })
	var listed []string
	for _, o := range s.others {
		listed = append(listed, o.Name)
	}
	slices.Sort(listed)
	want := []string{"damaged", "no config", "backwards"}
	for _, name := range hostile {
		want = append(want, strings.ToValidUTF8(name, "\uFFFD"))
	}
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Fatalf("the runs are %q, want %q", listed, want)
	}
	for _, name := range listed {
		r, body := get(t, p, "GET", "/run?"+url.Values{"name": {name}}.Encode())
		if name == "damaged" || name == "backwards" && r.StatusCode != http.StatusOK {
			if r.StatusCode != http.StatusNotFound || strings.Contains(body, "secret") {
				t.Errorf("%q: %s %s", name, r.Status, body)
			}
			continue
		}
		var a answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%q: %v, %s: %s", name, err, r.Status, body)
		}
		switch {
		case name == "no config":
			if len(a.Config) != 0 || a.Records.len() != 1 {
				t.Errorf("%q: %+v", name, a)
			}
		case a.Config[0] != (field{"seed", "18446744073709551615"}) || a.Config[1] != (field{"run_name", "<b>"}) || !slices.Equal(a.Records.Step, []int64{1, 5}):
			t.Errorf("%q: %s", name, body)
		}
	}
}
