package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// A wrong result and a row that cannot be measured are reported at once and at the end; what follows is measured, and is
// in the file.
func TestGoesOnAfterAWrongResult(t *testing.T) {
	dev := vktest.Open(t)
	c := config{quick: true, mib: 1, json: filepath.Join(t.TempDir(), "rows.json")}
	r, err := newReport(c, dev.Info())
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	r.out = &table

	wrong := fillCase(ops.F32, 1024)
	build := wrong.build
	wrong.build = func(run *running) {
		build(run)
		run.check = nil
		run.expect(run.owned[0].(*ops.Tensor), 0, func(int) float64 { return 2.5 })
	}
	steps := []model{{name: "impossible train step", dtype: ops.F32, cfg: nn.TransformerConfig{Vocab: 3, Context: 4}, batch: 1}, models(c)[0]}
	all := func(string) bool { return true }
	if err := measureAll(dev, c, []benchmark{wrong, addCase(4096)}, steps, all, r); err != nil {
		t.Fatal(err)
	}
	failure := r.close()
	for _, want := range []string{"2 failed", "fill f32 f32[1024]: value 0 of", "is 1.5, want 2.5", "impossible train step: nn: "} {
		if failure == nil || !strings.Contains(failure.Error(), want) {
			t.Errorf("the error is %v, want %q in it", failure, want)
		}
	}
	for _, want := range []string{"is 1.5, want 2.5\nadd f32 ", "FAILED: impossible train step: nn: ", "\nbigram train step [4 32], "} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, &table)
		}
	}

	file, err := os.ReadFile(c.json)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range bytes.Lines(file) {
		var x struct {
			Name, Wrong string
			NS          float64
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if x.Name != "" && x.NS <= 0 || (x.Wrong != "") != (x.Name == "fill f32") {
			t.Errorf("row %s", line)
		}
		names = append(names, x.Name)
	}
	if got, want := strings.Join(names, ","), ",copy,fastest copy,fma f32,,fill f32,add f32,bigram train step"; got != want {
		t.Errorf("the file's rows are %q, want %q", got, want)
	}
}

// Where -run matches nothing the rows are named.
func TestNothingToMeasure(t *testing.T) {
	rows := []benchmark{addCase(4096), fillCase(ops.F32, 1024)}
	for run, matches := range map[string]bool{"": true, "^fill": true, `4096`: true, "zzzz": false} {
		c := config{run: run}
		wanted, err := c.filter()
		if err != nil {
			t.Fatal(err)
		}
		err = checkWanted(c, rows, nil, wanted)
		if matches != (err == nil) || err != nil && !strings.Contains(err.Error(), "the rows are add f32, fill f32, each") {
			t.Errorf("-run %q: %v", run, err)
		}
	}
}
