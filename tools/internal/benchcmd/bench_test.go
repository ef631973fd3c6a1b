package benchcmd

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	var table bytes.Buffer
	r, err := newReport(&table, c, dev.Info())
	if err != nil {
		t.Fatal(err)
	}

	wrong := fillCase(ops.F32, 1024)
	build := wrong.build
	wrong.build = func(run *running) {
		build(run)
		run.checks = nil
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
	want := []string{""}
	for _, k := range ceilingCases(c, dev.Info()) {
		want = append(want, k.parts[0].name)
	}
	if want = append(want, "", "fill f32", "add f32", "bigram train step"); !slices.Equal(names, want) {
		t.Errorf("the file's rows are %q, want %q", names, want)
	}
}

// Where -run matches nothing the nearest rows are named.
func TestNothingToMeasure(t *testing.T) {
	kernels, steps := cases(config{mib: 64, gpu: true}), models(config{mib: 64, gpu: true})
	for run, near := range map[string]string{
		"": "", "^fill": "", "ADD F32": "", "gpt-2.*step": "",
		"step.*gpt2": `near to that are ["GPT-2 124M train step bf16 [8 1024]" "GPT-2 124M`, "^gelu.f33": `near to that are ["gelu f32 f32`, "zzzz": `-skip ""; -list prints`,
	} {
		c := config{run: run}
		wanted, err := c.filter()
		if err != nil {
			t.Fatal(err)
		}
		err = checkWanted(c, kernels, steps, wanted)
		if near == "" && err != nil || near != "" && (err == nil || !strings.Contains(err.Error(), near)) || err != nil && len(err.Error()) > 500 {
			t.Errorf("-run %q: %v", run, err)
		}
	}
}

// After the limit no row is begun, and the table says how many are missing.
func TestLimit(t *testing.T) {
	dev := vktest.Open(t)
	c := config{quick: true, mib: 1, limit: time.Nanosecond}
	var table bytes.Buffer
	r, err := newReport(&table, c, dev.Info())
	if err != nil {
		t.Fatal(err)
	}
	if err := measureAll(dev, c, []benchmark{fillCase(ops.F32, 1024), addCase(4096)}, models(c)[:1], func(string) bool { return true }, r); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil || !strings.HasSuffix(table.String(), "\n-limit left no time for 3 more\n") || strings.Contains(table.String(), "\nadd ") {
		t.Errorf("%v\n%s", err, &table)
	}
}

// A device is warm when it is as fast as before, or when it no longer gets faster, which then is its pace.
func TestWarmUp(t *testing.T) {
	dev := vktest.Open(t)
	c := config{quick: true, mib: 1}
	fma, err := open(dev, fmaCase(c))
	if err != nil {
		t.Fatal(err)
	}
	defer fma.close()
	begun := dev.Stats().Submissions
	if _, err := fma.profile(); err != nil {
		t.Fatal(err)
	}
	one := dev.Stats().Submissions - begun
	for _, before := range []float64{0, math.Inf(1), 1} {
		y, start, begun := &yardsticks{fma: fma, pace: before}, time.Now(), dev.Stats().Submissions
		if err := y.warmUp(); err != nil {
			t.Fatal(err)
		}
		took, runs := time.Since(start), (dev.Stats().Submissions-begun)/one
		if warm := math.IsInf(before, 1); (runs == 1) != warm || !warm && took < steady || !(y.pace > 1 && y.pace < 1e9) {
			t.Errorf("at a pace of %v before: %d runs in %v, and %v then", before, runs, took, y.pace)
		}
	}
}
