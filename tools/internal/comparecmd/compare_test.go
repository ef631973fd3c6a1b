package comparecmd

import (
	"bytes"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/figure"
)

// writeRun makes the folder of a run: its metrics fall from 5 to low. set changes the
// configuration; nil: there is none.
func writeRun(t *testing.T, dir string, low float64, set func(*train.Config)) {
	t.Helper()
	var b bytes.Buffer
	for step := 0; step <= 300; step += 100 {
		loss := low + (5-low)*math.Exp(-float64(step)/50)
		fmt.Fprintf(&b, `{"step":%d,"loss":%v,"val_loss":%v,"tokens_per_s":%d,"elapsed_s":%v}`+"\n", step, loss, loss+0.1, 1000+step, step/2)
	}
	write(t, filepath.Join(dir, metricsName), b.String())
	if set == nil {
		return
	}
	c := train.DefaultConfig()
	c.RunName = filepath.Base(dir)
	set(&c)
	if err := c.Write(filepath.Join(dir, configName)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// compare runs the command.
func compare(args ...string) (out, log string, status int) {
	var o, l strings.Builder
	status = Command.Run(&command.Process{Command: Command, Called: "lemnos", Whole: true, Args: args, Stdin: strings.NewReader(""), Stdout: &o, Stderr: &l})
	return o.String(), l.String(), status
}

// words are the lines of a table, with single spaces.
func words(text string) []string {
	return strings.Split(regexp.MustCompile(` +`).ReplaceAllString(text, " "), "\n")
}

func TestTables(t *testing.T) {
	dir := t.TempDir()
	writeRun(t, filepath.Join(dir, "a"), 3, func(c *train.Config) { c.BatchSize, c.ContextLen, c.GradAccum = 4, 10, 2 })
	writeRun(t, filepath.Join(dir, "b"), 2, func(c *train.Config) {
		c.BatchSize, c.ContextLen, c.GradAccum, c.Optimizer, c.Data = 5, 10, 2, "lion", `a "b"`
	})
	write(t, filepath.Join(dir, "notes", "x.txt"), "")
	out, log, status := compare("-o=", dir)
	lines := words(out)
	if status != 0 || log != "" || len(lines) != 10 {
		t.Fatalf("status %d, %s\n%s", status, log, out)
	}
	for i, want := range map[int]string{
		0: "run steps training loss validation loss best at step tokens/s tokens time parameters",
		1: "a 300 3.0050 3.1050 3.1050 300 1200 24000 2m30s",
		2: "b 300 2.0074 2.1074 2.1074 300 1200 30000 2m30s",
		4: "the configurations differ in",
		5: "field a b",
		6: `data "" "a \"b\""`,
		7: "batch_size 4 5",
		8: "optimizer adamw lion",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	if strings.Contains(out, "run_name") || strings.Contains(out, "context_len") {
		t.Errorf("fields that tell nothing:\n%s", out)
	}
	if out, _, _ := compare("-o=", filepath.Join(dir, "a"), filepath.Join(dir, "a")); strings.Count(out, "\n") != 2 {
		t.Errorf("one run twice:\n%s", out)
	}
}

// What is missing or damaged is told, or passed over where a run goes on so.
func TestHardCases(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name, metricsName) }
	writeRun(t, filepath.Join(dir, "good"), 3, func(*train.Config) {})
	writeRun(t, filepath.Join(dir, "bare"), 3, nil)
	write(t, filepath.Join(dir, "good", "checkpoint-00000300.safetensors"), "no record")
	write(t, path("empty"), "")
	writeRun(t, filepath.Join(dir, "control", "a\x1b[31m\tb"), 3, nil)
	write(t, path("torn"), "{\"step\":1,\"loss\":2}\n{\"step\":")
	write(t, path("nan"), `{"step":1,"loss":2,"val_loss":3}`+"\n"+`{"step":2,"loss":"NaN","val_loss":"NaN"}`+"\n")
	write(t, path("damaged"), "{\"step\":1}\nnone\n{\"step\":2}\n")
	write(t, path("config"), "{\"step\":1}\n")
	write(t, filepath.Join(dir, "config", configName), "{")
	write(t, filepath.Join(dir, "else", "run.txt"), "")
	for _, c := range []struct {
		args   string
		status int
		want   string // in what it writes
	}{
		{"good", 0, "good 300"},
		{"good/metrics.jsonl bare", 0, "bare 300"},
		{"good/checkpoint-00000300.safetensors good", 0, "good 300"},
		{"control", 0, `"a\x1b[31m\tb" 300`},
		{"empty good", 0, "empty 0 - - - - - - - -"},
		{"torn", 0, "torn 1 2.0000 - - - - - - -"},
		{"nan", 0, "nan 2 NaN NaN 3.0000 1 - - - -"},
		{"-x time good", 0, "good 300"},
		{"-x tokens good", 0, "good 300"},
		{"-x tokens good bare", 1, "compare: run bare: how many tokens a step has is in its config.json, which is not there"},
		{"-x time torn", 1, "compare: run torn: its records have no elapsed_s"},
		{"empty", 1, "compare: no run has measured anything yet, see "},
		{"damaged", 1, "line 2 of "},
		{"config", 1, "compare: configuration "},
		{"else", 1, "is no run's folder, nor one of runs"},
		{"gone", 1, "compare: no run: "},
		{"", 2, "name the folders of runs"},
		{"-x loss good", 2, `-x is "loss", want step, time, tokens`},
		{"-o c.pdf good", 2, "want a name that ends in .svg or .png"},
		{"-o gone/c.svg good", 1, "compare: open "},
		{"damaged good", 1, "good 300"},
		{"good gone", 1, "the losses are drawn in compare.svg"},
		{"-x time torn bare", 1, "the losses are drawn in compare.svg"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Chdir(dir)
			out, log, status := compare(strings.Fields(c.args)...)
			if got := strings.Join(words(out+log), "\n"); status != c.status || !strings.Contains(got, c.want) {
				t.Errorf("status %d, want %d and %q:\n%s", status, c.status, c.want, got)
			}
			if status != 0 && strings.Count(log, "\n") != 1 {
				t.Errorf("the error is\n%s", log)
			}
		})
	}
}

// What is wrong with one run is told, and the others are compared, as ls does with files.
func TestDamagedRunsAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeRun(t, "runs/a", 3, func(*train.Config) {})
	writeRun(t, "runs/d", 2, func(c *train.Config) { c.Layers++ })
	write(t, "runs/b/"+metricsName, "none\n")
	write(t, "runs/c/"+metricsName+"/x", "a folder")
	write(t, "runs/e/"+metricsName, "{\"step\":1}\n")
	write(t, "runs/e/"+configName, "[]")
	out, log, status := compare("runs", "gone")
	if status != command.Failed || strings.Count(log, "\n") != 4 {
		t.Errorf("status %d:\n%s", status, log)
	}
	for _, bad := range []string{filepath.Join("runs", "b", metricsName), filepath.Join("runs", "c", metricsName), filepath.Join("runs", "e", configName), "gone"} {
		if !strings.Contains(log, bad) {
			t.Errorf("%s is not told of:\n%s", bad, log)
		}
	}
	if lines := words(out); len(lines) < 5 || !strings.HasPrefix(lines[1], "a 300 3.0") || !strings.HasPrefix(lines[2], "d 300 2.0") || !strings.Contains(out, "layers") {
		t.Errorf("the others:\n%s", out)
	}
	if svg, err := os.ReadFile("compare.svg"); err != nil || !strings.Contains(string(svg), ">a<") || !strings.Contains(string(svg), ">d<") {
		t.Errorf("they are not drawn: %v", err)
	}
}

// Both kinds of picture have a curve for each run, and the legend has their names.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"one", "two/run", "three/run"} {
		writeRun(t, filepath.Join(dir, name), 2+float64(i), nil)
	}
	t.Chdir(dir)
	operands := []string{"one", "two", "three"}
	if _, log, status := compare(operands...); status != 0 {
		t.Fatal(log)
	}
	svg, err := os.ReadFile("compare.svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{">one<", ">" + filepath.Join("two", "run") + "<", ">" + filepath.Join("three", "run") + "<", ">step<", ">validation loss<", ">training loss<"} {
		if !strings.Contains(string(svg), text) {
			t.Errorf("compare.svg has no %s", text)
		}
	}
	if _, log, status := compare(slices.Insert(operands, 0, "-o", "c.png", "-x", "time")...); status != 0 {
		t.Fatal(log)
	}
	for seconds, want := range map[int]string{100: "seconds of training", 180: "minutes of training", 4000: "minutes of training", 20000: "hours of training", 1e6: "days of training"} {
		write(t, filepath.Join("timed", metricsName), fmt.Sprintf(`{"step":9,"loss":1,"elapsed_s":%d}`+"\n", seconds))
		runs, err := open([]string{"timed"})
		if err != nil {
			t.Fatal(err)
		}
		if f := draw(runs, axes["time"]); f.XLabel != want || f.Panels[0].Curves[0].X[0] > 180 {
			t.Errorf("%d s: axis %q, point at %v", seconds, f.XLabel, f.Panels[0].Curves[0].X)
		}
	}
	f, err := os.Open("c.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range operands {
		c, _ := figure.Distinct(i)
		n := 0
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				if r, g, b, _ := img.At(x, y).RGBA(); r>>8 == uint32(c.R) && g>>8 == uint32(c.G) && b>>8 == uint32(c.B) {
					n++
				}
			}
		}
		if n < 1000 {
			t.Errorf("curve %d has %d pixels", i, n)
		}
	}
}
