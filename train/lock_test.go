package train_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gofrs/flock"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/internal/eventtest"
	"github.com/lemnos-ml/lemnos/vk"
)

// A run whose folder, or lock, is taken away makes it anew, locked and whole: nothing
// is lost, and no second process gets in.
func TestRunKeepsItsFolder(t *testing.T) {
	dev := vktest.Open(t)
	straight := smallRun(t, t.TempDir())
	want, err := runOnce(ctx, dev, straight)
	must(t, err)
	steps, err := train.ReadMetrics(filepath.Join(straight.Dir(), "metrics.jsonl"))
	must(t, err)
	for name, takeAway := range map[string]func(dir string) error{
		"renamed":          func(dir string) error { return os.Rename(dir, dir+" old") },
		"removed":          removeAll,
		"the lock removed": func(dir string) error { return os.Remove(filepath.Join(dir, "run.lock")) },
	} {
		c := smallRun(t, t.TempDir())
		c.TensorBoard = true
		var last train.Record
		must(t, runHooked(ctx, dev, c, train.Hooks{Progress: func(r train.Record) {
			switch last = r; r.Step {
			case 10:
				must(t, takeAway(c.Dir()))
			case 20:
				if _, err := runOnce(ctx, dev, c); !errors.Is(err, train.ErrRunning) {
					t.Errorf("%s: a second run ends with %v", name, err)
				}
			}
		}}))
		if *last.ValLoss != *want.ValLoss {
			t.Errorf("%s: the run ends with the loss %v, want %v", name, *last.ValLoss, *want.ValLoss)
		}
		if _, step, err := train.Latest(c.Dir()); err != nil || step != c.TotalSteps {
			t.Errorf("%s: the checkpoint of step %d is the last; %v", name, step, err)
		}
		if got, err := train.ReadMetrics(filepath.Join(c.Dir(), "metrics.jsonl")); err != nil || len(got) != len(steps) {
			t.Errorf("%s: %d records of metrics, want %d; %v", name, len(got), len(steps), err)
		}
		wantCurves(t, c, eventtest.Run(t, c.Dir()))
		_, err := os.Stat(filepath.Join(c.Dir(), "config.json"))
		must(t, err)
		c.TotalSteps++
		_, err = runOnce(ctx, dev, c)
		must(t, err)
	}
}

// removeAll removes a folder into which another may be writing.
func removeAll(dir string) (err error) {
	for range 100 {
		if err = os.RemoveAll(dir); err == nil {
			break
		}
	}
	return err
}

// Where another folder is in the place of a run's, nothing is written to it; once the
// run's is back, it is saved, and else the run ends with the error.
func TestRunWritesToNoOtherFolder(t *testing.T) {
	dev := vktest.Open(t)
	for name, c := range map[string]struct {
		back bool
		want error
	}{"for good": {false, errors.New("another process may train there")}, "for a while": {true, nil}} {
		err := runBeside(t, dev, smallRun(t, t.TempDir()), c.back)
		if c.want == nil {
			must(t, err)
		} else {
			mustFail(t, err, c.want.Error())
		}
		if t.Failed() {
			t.Log(name)
		}
	}
}

// runBeside has another process lock a folder in the place of a run's from step 10 on,
// and moves the run's back at step 30 if it is to be back.
func runBeside(t *testing.T, dev *vk.Device, c train.Config, back bool) error {
	away, other := c.Dir()+" away", c.Dir()+" other"
	var lock *flock.Flock
	return runHooked(ctx, dev, c, train.Hooks{Progress: func(r train.Record) {
		switch {
		case r.Step == 10:
			must(t, os.Rename(c.Dir(), away))
			must(t, os.Mkdir(c.Dir(), 0o777))
			lock = flock.New(filepath.Join(c.Dir(), "run.lock"))
			_, err := lock.TryLock()
			must(t, err)
			t.Cleanup(func() { lock.Unlock() })
		case r.Step == 30:
			list, err := os.ReadDir(c.Dir())
			if err != nil || len(list) != 1 {
				t.Errorf("the other folder holds %v; %v", list, err)
			}
			if back {
				must(t, os.Rename(c.Dir(), other))
				must(t, os.Rename(away, c.Dir()))
			}
		}
	}})
}

// A start that fails leaves the folder as it was: it makes none, and where there is one
// puts nothing in it. A run that was there keeps its lock.
func TestFailedStartLeavesNothing(t *testing.T) {
	dev, failed := vktest.Open(t), errors.New("no values")
	fail := train.Hooks{Start: func(context.Context) error { return failed }}
	for name, before := range map[string]func(dir string) error{
		"no folder of runs": func(dir string) error { return os.Remove(filepath.Dir(dir)) },
		"no folder":         func(string) error { return nil },
		"an empty folder":   func(dir string) error { return os.Mkdir(dir, 0o700) },
		"a file of another's": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600))
		},
	} {
		top := t.TempDir()
		c := smallRun(t, top)
		c.CkptDir = filepath.Join(top, "runs")
		must(t, os.Mkdir(c.CkptDir, 0o700))
		must(t, before(c.Dir()))
		want := entriesOf(t, top)
		if err := runHooked(ctx, dev, c, fail); !errors.Is(err, failed) {
			t.Fatalf("%s: %v", name, err)
		}
		if got := entriesOf(t, top); !slices.Equal(got, want) {
			t.Errorf("%s: there are %q, want %q", name, got, want)
		}
		must(t, runHooked(ctx, dev, c, train.Hooks{}))
		checkpoints, err := filepath.Glob(filepath.Join(c.Dir(), "checkpoint-*"))
		for _, path := range checkpoints {
			err = errors.Join(err, os.Remove(path))
		}
		must(t, err)
		want = entriesOf(t, top)
		if err := runHooked(ctx, dev, c, fail); !errors.Is(err, failed) {
			t.Fatalf("%s: %v", name, err)
		}
		if got := entriesOf(t, top); !slices.Equal(got, want) {
			t.Errorf("%s, with a run in it: there are %q, want %q", name, got, want)
		}
	}
}

// entriesOf lists all below a folder.
func entriesOf(t *testing.T, dir string) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	return paths
}
