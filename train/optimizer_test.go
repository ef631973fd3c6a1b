package train_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/vk"
)

// otherRules are what a run may name beside AdamW, with rates that learn something.
var otherRules = []struct {
	name string
	set  func(*train.Config)
}{
	{"lion", func(c *train.Config) { c.LRMax, c.LRMin, c.HalfType = 5e-3, 5e-4, "f16" }},
	{"sgd", func(c *train.Config) { c.LRMax, c.LRMin, c.GradAccum, c.WeightDecay = 1, 0.1, 2, 1e-3 }},
	{"muon", func(c *train.Config) { c.MuonLR, c.MixedPrecision, c.GradAccum = 0.05, false, 2 }},
	{"muon", func(c *train.Config) { c.Schedule, c.NoDecay = "wsd", "none" }},
}

// A run by any rule learns, holds what it planned to the byte, and goes on bit for
// bit after it was stopped. That of Muon has a second moment of nothing that Muon
// updates.
func TestEveryRuleTrainsAndResumes(t *testing.T) {
	for _, v := range otherRules {
		t.Run(v.name, func(t *testing.T) {
			dev := openChecked(t)
			whole := smallTransformer(t, t.TempDir())
			whole.Optimizer, whole.TotalSteps, whole.CosineIters, whole.CkptEvery = v.name, 60, 60, 15
			v.set(&whole)
			var plan train.MemoryPlan
			var first, last train.Record
			must(t, runHooked(ctx, dev, whole, train.Hooks{Plan: func(p train.MemoryPlan) { plan = p }, Progress: func(r train.Record) {
				if last = r; first.Loss == nil {
					first = r
				}
			}}))
			if got := dev.Stats().PeakBytes; got != plan.Total() {
				t.Errorf("at most %d bytes on the device, planned %d:\n%v", got, plan.Total(), plan)
			}
			if !(*last.Loss < 3.2) { // log 128 is 4.85
				t.Errorf("the loss after 60 steps is %v: nothing was learned", *last.Loss)
			}
			stopped := whole
			stopped.RunName = "stopped"
			stop, cancel := context.WithCancel(ctx)
			err := runHooked(stop, dev, stopped, train.Hooks{Progress: func(r train.Record) { cancel() }}) // at step 25
			if !errors.Is(err, train.ErrInterrupted) {
				t.Fatalf("stopped run: %v", err)
			}
			must(t, runHooked(ctx, dev, stopped, train.Hooks{}))
			got := state(t, stopped)
			sameState(t, got, state(t, whole))
			checkModelOf(t, dev, whole, got)
			var second, moments int
			for name := range got {
				if strings.HasPrefix(name, "adamw.v.") {
					second++
				}
				if strings.HasPrefix(name, v.name+".m.") {
					moments++
				}
			}
			if embeddingsAndNorms := 7; moments == 0 || v.name == "muon" && second != embeddingsAndNorms || v.name != "muon" && second != 0 {
				t.Errorf("%d moments of %s and %d second moments of AdamW", moments, v.name, second)
			}
		})
	}
}

// checkModelOf opens the model of a run, whose newest checkpoint has the tensors
// given, and compares it with the master copies or what is its own master.
func checkModelOf(t *testing.T, dev *vk.Device, c train.Config, tensors map[string]string) {
	t.Helper()
	m, _, err := train.OpenModel(ctx, dev, c.Dir(), ops.F32)
	must(t, err)
	defer m.Params().Release()
	for _, p := range m.Params().All() {
		values := make([]float32, p.Len())
		must(t, ops.Download(ctx, p, values))
		var want string
		for _, name := range []string{p.Name(), "adamw.master." + p.Name(), c.Optimizer + ".master." + p.Name()} {
			if own, there := tensors[name]; there {
				want = own
			}
		}
		var got []byte
		for _, v := range values {
			got = binary.LittleEndian.AppendUint32(got, math.Float32bits(v))
		}
		if string(got) != want {
			t.Errorf("%v of the model is not the run's", p)
		}
	}
}

// The loop, its checkpoints and its memory plan hold for every rule, also for one
// that is added: they name none.
func TestTrainerNamesNoRule(t *testing.T) {
	for _, file := range []string{"trainer.go", "state.go", "save.go", "checkpoint.go", "memory.go", "finite.go", "run.go", "evaluate.go"} {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, r := range optim.Rules() {
			if strings.Contains(strings.ToLower(string(text)), r.Name()) {
				t.Errorf("%s names %s", file, r.Name())
			}
		}
	}
}

// A checkpoint from before there were rules and schedules to choose from goes on as
// what it was, and is no other rule's.
func TestOldCheckpointsAreAdamW(t *testing.T) {
	dev := vktest.Open(t)
	c := smallRun(t, t.TempDir())
	c.TotalSteps = 10
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	path, _, err := train.Latest(c.Dir())
	must(t, err)
	rewriteConfig(t, path, "optimizer", "schedule", "muon_lr", "decay_iters")
	c.TotalSteps = 20
	must(t, runHooked(ctx, dev, c, train.Hooks{}))
	c.TotalSteps, c.Optimizer = 30, "lion"
	err = runHooked(ctx, dev, c, train.Hooks{})
	if err == nil || !strings.Contains(err.Error(), `optimizer is "adamw", want "lion"`) {
		t.Errorf("AdamW's checkpoint in a run with Lion: %v", err)
	}
}

// rewriteConfig removes fields of the configuration in a checkpoint.
func rewriteConfig(t *testing.T, path string, fields ...string) {
	t.Helper()
	f, err := safetensors.OpenVerified(path)
	must(t, err)
	defer f.Close()
	meta := map[string]string{}
	for k, v := range f.Meta() {
		meta[k] = v
	}
	config := map[string]json.RawMessage{}
	must(t, json.Unmarshal([]byte(meta["config"]), &config))
	for _, field := range fields {
		if _, there := config[field]; !there {
			t.Errorf("the checkpoint has no %s", field)
		}
		delete(config, field)
	}
	text, err := json.Marshal(config)
	must(t, err)
	meta["config"] = string(text)
	var entries []safetensors.Entry
	for _, name := range f.Names() {
		dtype, shape, _ := f.Info(name)
		r, err := f.Open(name)
		must(t, err)
		raw, err := io.ReadAll(r)
		must(t, err)
		entries = append(entries, safetensors.Entry{Name: name, DType: dtype, Shape: shape, Write: func(w io.Writer) error { _, err := w.Write(raw); return err }})
	}
	must(t, os.Remove(path))
	must(t, safetensors.Save(path, meta, entries))
}

// A bigram has no hidden layers for Muon.
func TestMuonNeedsHiddenMatrices(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Optimizer = "muon"
	err := runHooked(ctx, vktest.Open(t), c, train.Hooks{})
	if err == nil || !strings.Contains(err.Error(), "no method HiddenMatrices") {
		t.Errorf("muon on a bigram: %v", err)
	}
}
