package train

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/internal/check"
)

// A run that is resumed without the from that it began with, or with one that it
// began without, is told so.
func TestResumeWithAnotherFrom(t *testing.T) {
	const from = "hf/testdata/llama"
	c := tuningRun(t, from)
	if err := runTo(t, c, 1); err != nil {
		t.Fatal(err)
	}
	other := transformerRun(t, c.RunName)
	other.CkptDir = c.CkptDir
	wantErrorOrNil(t, "without", runTo(t, other, 2), `the run began with from "`+from+`", which gave it its structure: name it again`)

	own := transformerRun(t, "own")
	if err := runTo(t, own, 1); err != nil {
		t.Fatal(err)
	}
	c.CkptDir, c.RunName = own.CkptDir, own.RunName
	wantErrorOrNil(t, "with", runTo(t, c, 2), `the run began without from, which is "`+from+`" now: leave it out, or choose another run_name`)
}

// A run goes on with the model that it began with, wherever that lies, and with no
// other; what is refused changes nothing.
func TestResumeFromAnotherModel(t *testing.T) {
	from := copyOf(t, "hf/testdata/llama")
	c := tuningRun(t, from)
	if err := runTo(t, c, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, from+"-moved"); err != nil {
		t.Fatal(err)
	}
	moved := c
	moved.From += "-moved"
	if err := runTo(t, moved, 2); err != nil {
		t.Fatal(err)
	}
	wantFrom := func(what, want string) {
		t.Helper()
		if was, err := ReadConfig(filepath.Join(c.Dir(), "config.json")); err != nil || was.From != want {
			t.Errorf("%s: config.json says from %q (%v), want %q", what, was.From, err, want)
		}
	}
	wantFrom("moved", moved.From)
	left := moved
	left.From = ""
	if err := runTo(t, left, 3); err != nil {
		t.Fatal(err)
	}
	wantFrom("left out", moved.From)

	other := c
	other.From = copyOf(t, "hf/testdata/llama")
	file := weightsIn(t, other.From)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-3] ^= 1
	if err := os.WriteFile(file, data, 0o666); err != nil {
		t.Fatal(err)
	}
	own := transformerRun(t, "own")
	if err := runTo(t, own, 1); err != nil {
		t.Fatal(err)
	}
	begun := own
	begun.Tokenizer = "bytes"
	begun.From = own.Dir()
	gone := c
	gone.From = filepath.Join(t.TempDir(), "nowhere")
	for _, r := range []struct {
		name  string
		run   Config
		parts []string
	}{
		{"another", other, []string{"that was " + moved.From + " (", "from is " + other.From + " (", "run_name", "-fresh", "new_data"}},
		{"begun without", begun, []string{"it began without one", own.Dir(), "run_name", "-fresh"}},
		{"not there", gone, []string{gone.From}},
	} {
		before := contents(t, r.run.Dir())
		err := runTo(t, r.run, 4)
		check.Error(t, err, r.parts...)
		if r.name != "not there" && !errors.Is(err, errOtherModel) {
			t.Errorf("%s: %v is not errOtherModel", r.name, err)
		}
		if after := contents(t, r.run.Dir()); !maps.Equal(after, before) {
			t.Errorf("%s: the folder has changed", r.name)
		}
	}
	other.NewData = true
	if err := runTo(t, other, 4); err != nil {
		t.Fatal(err)
	}
	wantFrom("new_data", other.From)
	other.NewData = false
	if err := runTo(t, other, 5); err != nil { // asked for once
		t.Error(err)
	}
	check.Error(t, runTo(t, moved, 6), "that was "+other.From)
}

// A start asks twice which model it is to go on from, which is read once unless it changes.
func TestModelIsSummedOnce(t *testing.T) {
	dir := copyOf(t, "hf/testdata/llama")
	file := weightsIn(t, dir)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	written := time.Unix(1e9, 0)
	sum := func(data []byte, at time.Time) fileSum {
		t.Helper()
		if err := errors.Join(os.WriteFile(file, data, 0o666), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
		id, err := identifyModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		return id.Files[0]
	}
	first := sum(data, written)
	data[len(data)-3] ^= 1
	if again := sum(data, written); again != first {
		t.Errorf("the file is read again: %v after %v", again, first)
	}
	if changed := sum(data, written.Add(time.Second)); changed == first {
		t.Errorf("the file has changed, and its sum is still %v", first)
	}
}

// weightsIn returns a file with tensors in a Hugging Face folder.
func weightsIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files[0]
}

// copyOf returns a copy of a folder.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// contents reads the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

// A run that has come to its last step is left alone, and so is one that has come
// further; one whose last evaluation is missing is not.
func TestFinishedRunIsLeftAlone(t *testing.T) {
	c := transformerRun(t, "run")
	if err := runTo(t, c, 3); err != nil {
		t.Fatal(err)
	}
	before := contents(t, c.Dir())
	for _, steps := range []int64{3, 2, 1} {
		changed := c
		changed.LRMax = 0.5
		if err := runTo(t, changed, steps); err != nil {
			t.Errorf("%d steps: %v", steps, err)
		}
		if after := contents(t, c.Dir()); !maps.Equal(after, before) {
			t.Errorf("%d steps: the folder has changed", steps)
		}
		changed.TotalSteps = steps
		if step, done, err := changed.CheckResume(); step != 3 || !done || err != nil {
			t.Errorf("%d steps: step %d, done %v, %v", steps, step, done, err)
		}
	}
	wider := c
	wider.Width, wider.TotalSteps = 64, 1
	_, _, err := wider.CheckResume()
	check.Error(t, err, "is of another configuration", "width is")
	if err := os.Remove(filepath.Join(c.Dir(), metricsName)); err != nil {
		t.Fatal(err)
	}
	c.TotalSteps = 3
	if step, done, err := c.CheckResume(); step != 3 || done || err != nil {
		t.Errorf("without its last evaluation: step %d, done %v, %v", step, done, err)
	}
}
