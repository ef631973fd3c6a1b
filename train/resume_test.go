package train

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// runTo trains the run of c up to a step.
func runTo(t *testing.T, c Config, steps int64) error {
	t.Helper()
	dev := vktest.Open(t)
	data, err := OpenData(t.Context(), c, nil)
	if err != nil {
		return err
	}
	defer data.Close()
	m, err := NewModel(dev, c)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Params().Release()
	c.TotalSteps = steps
	return Run(t.Context(), dev, c, m, data, Hooks{})
}

// A run goes on with the same data, whatever they are called now, and refuses others
// unless it is told that they are meant.
func TestResumeKnowsItsData(t *testing.T) {
	c := transformerRun(t, "run")
	c.Vocab, c.Tokenizer = 512, "tokenizer/testdata/tokenizer-digits.json"
	dir := t.TempDir()
	c.Data = filepath.Join(dir, "chg.txt")
	text := []byte(someText)
	if err := os.WriteFile(c.Data, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := runTo(t, c, 1); err != nil {
		t.Fatal(err)
	}

	tokenizer, err := filepath.Abs(c.Tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	moved := c
	moved.Tokenizer, moved.CkptDir = tokenizer, filepath.Join(t.TempDir(), "runs")
	if err := os.Rename(c.CkptDir, moved.CkptDir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for step, name := range []string{"./chg.txt", filepath.Join(dir, "chg.txt")} {
		moved.Data = name
		if err := runTo(t, moved, int64(2+step)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	moved.Tokenizer = filepath.Join(dir, "gone.json") // the run's folder has a copy
	if err := runTo(t, moved, 4); err != nil {
		t.Error(err)
	}

	changed := slices.Clone(text)
	changed[5] ^= 1
	if err := os.WriteFile("chg.txt", changed, 0o666); err != nil {
		t.Fatal(err)
	}
	moved.Data = "chg.txt"
	err = runTo(t, moved, 5)
	if !errors.Is(err, ErrMismatched) {
		t.Errorf("other data of the same size: %v", err)
	}
	check.Error(t, err, "the data are not those that the run began with", "chg.txt of", "with the checksum", "not "+filepath.Join(dir, "chg.txt")+" of", "new_data")
	if err := os.WriteFile("chg.txt", text, 0o666); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	// The same ids of this text, other ones of texts with "<|end|>".
	other := strings.Replace(string(old), `"content":"<|end|>","single_word":false`, `"content":"<|end|>","single_word":true`, 1)
	if err := os.WriteFile("other.json", []byte(other), 0o666); err != nil {
		t.Fatal(err)
	}
	moved.Tokenizer = "other.json"
	err = runTo(t, moved, 5)
	if !errors.Is(err, ErrMismatched) {
		t.Errorf("another tokenizer: %v", err)
	}
	check.Error(t, err, "tokenizer bpe", "new_data")
	moved.NewData = true
	if err := runTo(t, moved, 5); err != nil {
		t.Error(err)
	}
	if tok, err := OpenTokenizer(moved.Dir()); err != nil || tok.ID() != openTokenizer(t, "other.json").ID() {
		t.Errorf("the run's tokenizer is not the new one: %v", err)
	}
	if err := os.WriteFile(filepath.Join(moved.Dir(), "tokenizer.json"), old, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = OpenTokenizer(moved.Dir())
	check.Error(t, err, "is not the tokenizer that", "was trained with")
}

// A run that started from a model goes on without it, and so does what is made of it.
func TestResumeWithoutItsSource(t *testing.T) {
	first := transformerRun(t, "first")
	first.Vocab, first.Tokenizer = 512, "tokenizer/testdata/tokenizer-words.json"
	if err := runTo(t, first, 1); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(t.TempDir(), "from")
	if err := ExportCheckpoint(t.Context(), first.Dir(), from); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "generation_config.json"), []byte(`{"bos_token_id":1,"eos_token_id":[2,3]}`), 0o666); err != nil {
		t.Fatal(err)
	}
	tok := openTokenizer(t, first.Tokenizer)
	path := check.File(t, "x.txt", []byte(someText))
	dir := t.TempDir()
	assignments := []string{"from=" + from, "data=" + path, "ckpt_dir=" + dir, "context_len=8", "batch_size=2", "total_steps=9", "eval_windows=2", "warmup_iters=0"}
	c, err := Configure("", "", assignments)
	if err != nil {
		t.Fatal(err)
	}
	if err := runTo(t, c, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, from+" moved"); err != nil {
		t.Fatal(err)
	}
	if c, err = Configure("", "", assignments); err != nil {
		t.Fatal(err)
	}
	if err := runTo(t, c, 2); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "exported")
	if err := ExportCheckpoint(t.Context(), c.Dir(), out); err != nil {
		t.Fatal(err)
	}
	exported, err := OpenTokenizer(out)
	if err != nil {
		t.Fatal(err)
	}
	if s := exported.Special(); exported.ID() != tok.ID() || s.Start != 1 || !slices.Equal(s.End, []int32{2, 3}) {
		t.Errorf("the exported tokenizer is %+v with %+v", exported.ID(), s)
	}
	m, _, err := OpenModel(t.Context(), vktest.Open(t), out, ops.F32)
	if err != nil {
		t.Fatal(err)
	}
	m.Params().Release()
}

// A run whose token files have lost their sidecars knows what made its tokens, as
// long as they are the same.
func TestResumeWithoutSidecars(t *testing.T) {
	c := transformerRun(t, "run")
	c.Vocab, c.Tokenizer = 512, ""
	dir, json := t.TempDir(), "tokenizer/testdata/tokenizer-digits.json"
	made, err := data.Tokenize(t.Context(), openTokenizer(t, json), filepath.Join(dir, "ids"), 0, nil, check.File(t, "x.txt", []byte(someText)))
	if err != nil {
		t.Fatal(err)
	}
	c.Data = made.TrainPath
	if err := runTo(t, c, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(made.TrainPath + ".json"); err != nil {
		t.Fatal(err)
	}
	for step := int64(2); step <= 3; step++ {
		if err := runTo(t, c, step); err != nil {
			t.Fatal(err)
		}
		if tok, err := OpenTokenizer(c.Dir()); err != nil || tok.ID() != openTokenizer(t, json).ID() {
			t.Errorf("step %d: tokenizer %v (%v)", step, tok, err)
		}
	}
}

// A damaged newest checkpoint is named with the one before it, which a run goes on
// from once the damaged one is removed.
func TestDamagedNewestCheckpoint(t *testing.T) {
	c := transformerRun(t, "run")
	c.CkptEvery, c.Keep = 1, 2
	for _, steps := range []int64{1, 2} {
		if err := runTo(t, c, steps); err != nil {
			t.Fatal(err)
		}
	}
	older, newest := checkpointPath(c.Dir(), 1), checkpointPath(c.Dir(), 2)
	damage := func(path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	damage(newest)
	for name, err := range map[string]error{"run": runTo(t, c, 3), "model": errorOf2(OpenModel(t.Context(), vktest.Open(t), c.Dir(), ops.F32))} {
		wantErrorOrNil(t, name, err, "damaged")
		wantErrorOrNil(t, name, err, "remove "+newest+" to go on from the one before it, "+older)
	}
	if err := os.Remove(newest); err != nil {
		t.Fatal(err)
	}
	if err := runTo(t, c, 3); err != nil {
		t.Fatal(err)
	}
	if err := removeOld(output.OS{}, c.Dir(), 1, -1); err != nil {
		t.Fatal(err)
	}
	only := checkpointPath(c.Dir(), 3)
	damage(only)
	wantErrorOrNil(t, "the only one", runTo(t, c, 4), "there is none before it: remove "+only+", and the run starts over")
	if err := os.Remove(only); err != nil {
		t.Fatal(err)
	}
	if err := runTo(t, c, 1); err != nil {
		t.Errorf("from the start: %v", err)
	}
}

func errorOf2[A, B any](_ A, _ B, err error) error { return err }
