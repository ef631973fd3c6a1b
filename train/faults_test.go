package train

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/internal/eventtest"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/safetensors"
	"github.com/lemnos-ml/lemnos/vk"
)

// faultRun trains a small model on files, which may fail.
func faultRun(dev *vk.Device, cfg Config, data data.Corpus, files output.System) error {
	model, err := nn.NewBigram(dev, cfg.Storage(), cfg.Vocab)
	if err != nil {
		return err
	}
	defer model.Params().Release()
	return Run(context.Background(), dev, cfg, model, data, Hooks{files: files})
}

// TestRunSurvivesFileFailures fails each operation on files of a run in turn,
// alone or with all that come after it. The run ends well or with the error;
// started again it ends with the same bits and the same metrics, and no
// checkpoint that was there is lost.
func TestRunSurvivesFileFailures(t *testing.T) {
	dev := vktest.Open(t)
	c := DefaultConfig()
	c.Model, c.Vocab, c.BatchSize, c.ContextLen, c.MixedPrecision = "bigram", 16, 2, 8, false
	c.TotalSteps, c.WarmupIters, c.CosineIters = 4, 1, 4
	c.LogEvery, c.EvalEvery, c.EvalWindows, c.CkptEvery, c.Keep = 1, 4, 2, 2, 1
	c.RunName, c.TensorBoard = "run", true
	ids := make([]uint16, 200)
	for i := range ids {
		ids[i] = uint16(i * i % 16)
	}
	data := data.Corpus{Train: data.NewTokens(ids), Val: data.NewTokens(ids)}

	c.CkptDir = t.TempDir()
	count := &faultyFiles{t: t, failAt: -1, synced: map[string]bool{}}
	if err := faultRun(dev, c, data, count); err != nil {
		t.Fatal(err)
	}
	want, wantMetrics := finalState(t, c), metricSteps(t, c)
	kinds := map[string]int{}
	for _, operation := range count.done {
		kinds[operation]++
	}
	for _, operation := range []string{"mkdir", "create", "append", "write", "write at", "sync", "close", "rename", "remove", "list", "sync folder"} {
		if kinds[operation] == 0 {
			t.Errorf("the run did no %s: %v", operation, kinds)
		}
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	ended := 0
	for failAt := 0; failAt < len(count.done); failAt += stride {
		for _, crash := range []bool{false, true} {
			c.CkptDir = t.TempDir()
			files := &faultyFiles{t: t, failAt: failAt, crash: crash, synced: map[string]bool{}}
			err := faultRun(dev, c, data, files)
			operation := files.done[min(failAt, len(files.done)-1)]
			if err != nil && !errors.Is(err, errInjected) {
				t.Fatalf("%s fails (operation %d, crash %v): %v", operation, failAt, crash, err)
			}
			if err != nil {
				ended++
			}
			_, before, latestErr := Latest(c.Dir())
			if latestErr != nil {
				t.Fatal(latestErr)
			}
			if err == nil && before != c.TotalSteps {
				t.Errorf("%s fails (operation %d, crash %v): the run ended well, but step %d is saved last", operation, failAt, crash, before)
			}
			if err := faultRun(dev, c, data, output.OS{}); err != nil {
				t.Fatalf("started again after a failed %s (operation %d, crash %v): %v", operation, failAt, crash, err)
			}
			if got := finalState(t, c); !maps.Equal(got, want) {
				t.Errorf("%s fails (operation %d, crash %v): the run ends with other bits", operation, failAt, crash)
			}
			if got := metricSteps(t, c); got != wantMetrics {
				t.Errorf("%s fails (operation %d, crash %v): metrics of steps %s, want %s", operation, failAt, crash, got, wantMetrics)
			}
			if got := eventSteps(t, c); got != wantMetrics {
				t.Errorf("%s fails (operation %d, crash %v): events of steps %s, want %s", operation, failAt, crash, got, wantMetrics)
			}
			for _, name := range namesIn(t, c.Dir()) {
				if _, isTemp := output.CutTemp(name); isTemp {
					t.Errorf("%s fails (operation %d, crash %v): %s is left after the second start", operation, failAt, crash, name)
				}
			}
		}
	}
	t.Logf("%d operations %v; %d of the runs ended with the error", len(count.done), kinds, ended)
}

// finalState reads the checkpoint of the last step.
func finalState(t *testing.T, c Config) map[string]string {
	t.Helper()
	f, err := safetensors.OpenVerified(checkpointPath(c.Dir(), c.TotalSteps))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]string{"optimizer": f.Meta()["optimizer"]}
	for _, name := range f.Names() {
		all[name] = string(tensorBytesOf(t, f, name))
	}
	return all
}

// metricSteps lists the steps of the metrics that were measured.
func metricSteps(t *testing.T, c Config) string {
	t.Helper()
	records, err := ReadMetrics(filepath.Join(c.Dir(), metricsName))
	if err != nil {
		t.Fatal(err)
	}
	return stepsOf(records)
}

// eventSteps lists the steps of the losses in the event files.
func eventSteps(t *testing.T, c Config) string {
	t.Helper()
	var words []string
	for _, e := range eventtest.Run(t, c.Dir()) {
		if slices.ContainsFunc(e.Values, func(v eventtest.Value) bool { return strings.HasPrefix(v.Tag, "loss/") }) {
			words = append(words, strconv.FormatInt(e.Step, 10))
		}
	}
	return strings.Join(words, " ")
}
