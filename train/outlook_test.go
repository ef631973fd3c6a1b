package train_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/train"
)

// What is told before the first step is what happens.
func TestOutlook(t *testing.T) {
	dev := vktest.Open(t)
	c := smallTransformer(t, t.TempDir())
	c.TotalSteps, c.CkptEvery, c.Keep = 6, 2, 2
	var told []train.Outlook
	stop := errors.New("only planned")
	hooks := train.Hooks{Outlook: func(o train.Outlook) error { told = append(told, o); return stop }}
	if err := runHooked(context.Background(), dev, c, hooks); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir()); err == nil {
		t.Error("a run that was only planned has made its folder")
	}
	hooks.Outlook = func(o train.Outlook) error { told = append(told, o); return nil }
	for _, steps := range []int64{4, 6} {
		c.TotalSteps = steps
		must(t, runHooked(context.Background(), dev, c, hooks))
	}
	o := told[0]
	if o.Steps != 6 || o.From != 0 || o.Parameters != c.Parameters() || o.StepTokens != int64(c.BatchSize*c.ContextLen*c.GradAccum) || o.Train <= o.Held || o.Held == 0 ||
		o.Tokens() != 6*o.StepTokens || o.Epochs() != float64(6*o.StepTokens)/float64(o.Train) || o.Memory.Total() == 0 {
		t.Errorf("told %+v", o)
	}
	if told[2].From != 4 || told[2].Tokens() != 2*o.StepTokens {
		t.Errorf("on from step 4: told %+v", told[2])
	}
	var most int64
	files, err := filepath.Glob(filepath.Join(c.Dir(), "*"))
	must(t, err)
	for _, f := range files {
		info, err := os.Stat(f)
		must(t, err)
		most += info.Size()
		if strings.HasSuffix(f, ".safetensors") && (info.Size() < o.Checkpoint || info.Size() > o.Checkpoint+1<<16) {
			t.Errorf("%s has %d bytes, told %d and what describes them", f, info.Size(), o.Checkpoint)
		}
	}
	if most > o.Disk || o.Free < o.Disk {
		t.Errorf("the folder has %d bytes, told %d of %d", most, o.Disk, o.Free)
	}
}

// The products of a step are what its FLOPs are estimated by, and a device has a rate.
func TestProductRate(t *testing.T) {
	dev := vktest.Open(t)
	c := train.DefaultConfig()
	c.MixedPrecision = false
	before := dev.Stats().BufferBytes
	rate, err := train.ProductRate(context.Background(), dev, c)
	if err != nil || !(rate > 1e6 && rate < 1e16) {
		t.Errorf("%v FLOP/s, %v", rate, err)
	}
	if after := dev.Stats().BufferBytes; after != before {
		t.Errorf("%d bytes are on the device after it, %d before", after, before)
	}
	gpt2, err := train.Preset("gpt2-124m")
	must(t, err)
	// 124 million parameters, less 0.8 million positions, and attention: 12 layers, 12 heads of 64, 512 pairs a token.
	if got, want := gpt2.ProductFLOPs(), 6*(124439808.0-786432)+12*12*768*512; got != want {
		t.Errorf("GPT-2: %v FLOPs a token, want %v", got, want)
	}
	c.Model = "bigram"
	if rate, err := train.ProductRate(context.Background(), dev, c); rate != 0 || err != nil || c.ProductFLOPs() != 0 {
		t.Errorf("a bigram has no products: %v, %v", rate, err)
	}
}
