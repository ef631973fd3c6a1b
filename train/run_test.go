package train_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/vk"
)

// childDir is set in the process that TestRunKilled starts and kills.
const childDir = "LEMNOS_TEST_RUN"

var ctx = context.Background()

// text has structure for a bigram model to find: words of few letters.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the of and to in that is was he for it with as his on be at by this had")
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.Bytes()[:n]
}

// smallRun is a configuration that takes a second or two on a software device.
func smallRun(t testing.TB, dir string) train.Config {
	t.Helper()
	data := filepath.Join(dir, "corpus.txt")
	if err := os.WriteFile(data, text(20000), 0o644); err != nil {
		t.Fatal(err)
	}
	c := train.DefaultConfig()
	c.Model, c.Data, c.CkptDir, c.RunName = "bigram", data, dir, "run"
	c.Vocab, c.Tokenizer, c.BatchSize, c.ContextLen = 128, "bytes", 8, 32
	c.TotalSteps, c.WarmupIters, c.CosineIters = 40, 4, 40
	c.LogEvery, c.EvalEvery, c.CkptEvery, c.EvalWindows = 10, 20, 7, 16
	c.LRMax, c.LRMin, c.WeightDecay = 0.2, 0.02, 0.01
	return c
}

// dropping is a bigram model of which a part is dropped in training.
type dropping struct {
	*nn.Bigram
	part float64
}

func (d dropping) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	ignore := data.PadTarget
	return g.CrossEntropy(g.Dropout(g.Embed(d.Params().All()[0], x), d.part), y, &ops.CrossEntropyOptions{IgnoreIndex: &ignore})
}

// runOnce is one process's share of a run.
func runOnce(ctx context.Context, dev *vk.Device, cfg train.Config) (last train.Record, err error) {
	err = runHooked(ctx, dev, cfg, train.Hooks{Progress: func(r train.Record) { last = r }})
	return last, err
}

func runHooked(ctx context.Context, dev *vk.Device, cfg train.Config, h train.Hooks) error {
	data, err := train.OpenData(context.Background(), cfg, nil)
	if err != nil {
		return err
	}
	defer data.Close()
	model, err := train.NewModel(dev, cfg)
	if err != nil {
		return err
	}
	defer model.Params().Release()
	if b, ok := model.(*nn.Bigram); ok {
		model = dropping{b, cfg.Dropout}
	}
	return train.Run(ctx, dev, cfg, model, data, h)
}

// bigramAndData opens what a run of c needs.
func bigramAndData(t *testing.T, dev *vk.Device, c train.Config) (*nn.Bigram, data.Corpus) {
	t.Helper()
	data, err := train.OpenData(ctx, c, nil)
	must(t, err)
	t.Cleanup(func() { data.Close() })
	model, err := nn.NewBigram(dev, c.Storage(), c.Vocab)
	must(t, err)
	t.Cleanup(model.Params().Release)
	return model, data
}

// state reads every tensor of the newest checkpoint, and what its metadata says
// of the optimizer.
func state(t *testing.T, cfg train.Config) map[string]string {
	t.Helper()
	path, step, err := train.Latest(cfg.Dir())
	if err != nil || step != cfg.TotalSteps {
		t.Fatalf("newest checkpoint %q of step %d (%v), want step %d", path, step, err, cfg.TotalSteps)
	}
	f, err := safetensors.OpenVerified(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{"optimizer": f.Meta()["optimizer"]}
	for _, name := range f.Names() {
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

func sameState(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s differs from that of the run that was not stopped", name)
		}
	}
}

// variants of a run that must all resume exactly.
func variants(t testing.TB, change func(name string, c *train.Config)) {
	for _, v := range []struct {
		name string
		set  func(*train.Config)
	}{
		{"bf16", func(c *train.Config) {}},
		{"f16 with loss scaling", func(c *train.Config) { c.HalfType = "f16" }},
		{"f32 with accumulation", func(c *train.Config) { c.MixedPrecision = false; c.GradAccum = 3 }},
		{"bf16 with accumulation and dropout", func(c *train.Config) { c.GradAccum = 2; c.Dropout = 0.1 }},
	} {
		c := smallRun(t, t.TempDir())
		v.set(&c)
		change(v.name, &c)
	}
}

func TestRunBeatsUnigram(t *testing.T) {
	dev := vktest.Open(t)
	variants(t, func(name string, c *train.Config) {
		t.Run(name, func(t *testing.T) {
			last, err := runOnce(ctx, dev, *c)
			if err != nil {
				t.Fatal(err)
			}
			model, data := bigramAndData(t, dev, *c)
			eval, err := train.NewEvaluator(dev, *c, model, data.Val)
			if err != nil {
				t.Fatal(err)
			}
			defer eval.Close()
			unigram, err := eval.UnigramEntropy(context.Background(), data.Train, c.Vocab)
			if err != nil {
				t.Fatal(err)
			}
			if last.ValLoss == nil || !(*last.ValLoss < unigram-0.2) {
				t.Errorf("validation loss after %d steps is %v, want well below the unigram entropy %.3f", last.Step, last.ValLoss, unigram)
			}
			for _, f := range []string{"loss.png", "metrics.jsonl", "config.json"} {
				if s, err := os.Stat(filepath.Join(c.Dir(), f)); err != nil || s.Size() == 0 {
					t.Errorf("%s: %v, want a file with contents", f, err)
				}
			}
		})
	})
}

func TestRunInterruptedAndResumed(t *testing.T) {
	dev := vktest.Open(t)
	variants(t, func(name string, c *train.Config) {
		t.Run(name, func(t *testing.T) {
			whole := *c
			whole.RunName = "whole"
			started := time.Now()
			if _, err := runOnce(ctx, dev, whole); err != nil {
				t.Fatal(err)
			}
			step := time.Since(started) / 8
			if testing.Short() {
				step *= 2
			}
			for stops := 0; ; stops++ { // later each time, so that the run gets to its end
				ctx, cancel := context.WithCancel(ctx)
				timer := time.AfterFunc(step*time.Duration(stops), cancel)
				_, err := runOnce(ctx, dev, *c)
				timer.Stop()
				cancel()
				if err == nil {
					if stops == 0 {
						t.Error("the run was never interrupted: the test shows nothing")
					}
					break
				}
				if !errors.Is(err, train.ErrInterrupted) || !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			sameState(t, state(t, *c), state(t, whole))
		})
	})
}

// TestRunKilled kills a training process with SIGKILL at random points until a
// start gets to the end.
func TestRunKilled(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		c, err := train.ReadConfig(filepath.Join(dir, "child.json"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runOnce(ctx, vktest.Open(t), c); err != nil {
			t.Fatal(err)
		}
		return
	}
	dev := vktest.Open(t)
	dir := t.TempDir()
	c := smallRun(t, dir)
	whole := c
	whole.RunName = "whole"
	started := time.Now()
	if _, err := runOnce(ctx, dev, whole); err != nil {
		t.Fatal(err)
	}
	took := time.Since(started)
	if err := c.Write(filepath.Join(dir, "child.json")); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for kills := 0; ; kills++ {
		child := exec.Command(os.Args[0], "-test.run=^TestRunKilled$")
		child.Env = append(os.Environ(), childDir+"="+dir, "LEMNOS_VALIDATE=0", "LEMNOS_CACHE=off")
		var out bytes.Buffer
		child.Stdout, child.Stderr = &out, &out
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Longer each time, so that the run gets to its end: from before the first
		// checkpoint to during the last.
		after := time.Duration(float64(took) * (0.1 + 0.2*float64(kills) + 0.3*r.Float64()))
		timer := time.AfterFunc(after, func() { child.Process.Kill() })
		err := child.Wait()
		if timer.Stop() {
			if err != nil {
				t.Fatalf("start %d: %v\n%s", kills+1, err, out.String())
			}
			if kills > 0 {
				break
			}
			kills, took = -1, took/2 // it was faster than the first: once more, or the test shows nothing
			must(t, os.RemoveAll(c.Dir()))
		}
	}
	sameState(t, state(t, c), state(t, whole))
}

func TestRestoreRefusesAnotherConfiguration(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TotalSteps, c.CosineIters = 8, 8
	if _, err := runOnce(ctx, dev, c); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*train.Config){
		"seed":            func(c *train.Config) { c.Seed++ },
		"batch_size":      func(c *train.Config) { c.BatchSize = 4 },
		"vocab":           func(c *train.Config) { c.Vocab = 256 },
		"mixed_precision": func(c *train.Config) { c.MixedPrecision = false },
	} {
		other := c
		change(&other)
		if _, err := runOnce(ctx, dev, other); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("resumed with another %s: error is %v, want one that names it", field, err)
		}
	}
	free := c
	free.TotalSteps, free.CosineIters, free.LRMax = 10, 10, 0.1
	if last, err := runOnce(ctx, dev, free); err != nil || last.Step != 10 {
		t.Errorf("a longer run with another learning rate ended at step %d: %v", last.Step, err)
	}
}

// TestStepIsOneSubmissionWithoutAllocation is the promise of a replayed step.
func TestStepIsOneSubmissionWithoutAllocation(t *testing.T) {
	vktest.Slow(t, 0) // by its clock: steps on a slow device, or a busy one, are several submissions
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	model, data := bigramAndData(t, dev, c)
	tr, err := train.NewTrainer(dev, c, model, data.Train)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	step := func() {
		if err := tr.Step(); err != nil {
			t.Fatal(err)
		}
	}
	step()
	const runs = 20
	before := dev.Stats().Submissions
	for range runs {
		step()
	}
	if n := dev.Stats().Submissions - before; n != runs {
		t.Errorf("%d steps made %d submissions, want one each", runs, n)
	}
	if n := vktest.AllocsPerRun(runs, step); n != 0 {
		t.Errorf("a step makes %v allocations, want 0", n)
	}
	if err := tr.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}
