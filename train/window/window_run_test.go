//go:build window

package window

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/figure"
	"github.com/lemnos-ml/lemnos/vk"
)

// patience is how long a test waits for what comes at once.
const patience = 20 * time.Second

// polls polls w on the main goroutine until it shows what is right, and returns that.
func polls(t *testing.T, w *Window, what string, right func(shot *image.RGBA) bool) (shot *image.RGBA) {
	t.Helper()
	late := time.Now().Add(patience)
	for ok := false; !ok; {
		if time.Now().After(late) {
			t.Fatalf("after %v the window does not show %s", patience, what)
		}
		mainDo(func() {
			w.Poll()
			shot = w.screenshot()
			ok = right(shot)
		})
	}
	return shot
}

// count returns how many pixels have a color.
func count(img *image.RGBA, c color.RGBA) (n int) {
	for i := 0; i < len(img.Pix); i += 4 {
		if img.Pix[i] == c.R && img.Pix[i+1] == c.G && img.Pix[i+2] == c.B {
			n++
		}
	}
	return n
}

// train40 trains a small model for 40 steps, with a record every fourth.
func train40(t *testing.T, dev *vk.Device, plot func(figure.Figure)) {
	cfg := train.DefaultConfig()
	cfg.Model, cfg.MixedPrecision, cfg.CkptDir = "bigram", false, t.TempDir()
	cfg.BatchSize, cfg.ContextLen, cfg.LRMax, cfg.LRMin = 4, 16, 1e-2, 1e-3
	cfg.TotalSteps, cfg.WarmupIters, cfg.LogEvery, cfg.EvalEvery = 40, 4, 4, 1000
	model, err := train.NewModel(dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Params().Release()
	tokens := data.NewTokens(make([]uint16, 2000))
	if err := train.Run(context.Background(), dev, cfg, model, data.Corpus{Train: tokens, Val: tokens}, train.Hooks{Plot: plot}); err != nil {
		t.Fatal(err)
	}
}

// Each record of a run changes what the window shows: both losses and the learning rate, in
// the size that the window has.
func TestWindowFollowsRun(t *testing.T) {
	dev := vktest.Open(t)
	var w *Window
	mainDo(func() { w = open() })
	defer mainDo(func() { w.Close() })
	last, records := polls(t, w, "a blank", func(*image.RGBA) bool { return true }), 0
	train40(t, dev, func(f figure.Figure) {
		records++
		w.Plot(f)
		last = polls(t, w, "a new record", func(shot *image.RGBA) bool { return !bytes.Equal(shot.Pix, last.Pix) })
	})
	if records != 11 {
		t.Errorf("the window was told of %d records, want 11", records)
	}
	for name, c := range map[string]color.RGBA{"training loss": figure.Blue, "validation loss": figure.Vermilion, "learning rate": figure.Green} {
		if n := count(last, c); n < 100 {
			t.Errorf("the %s has %d pixels", name, n)
		}
	}
	mainDo(func() { w.handle.SetSize(700, 400) })
	polls(t, w, "the curves in its new size", func(shot *image.RGBA) bool {
		return shot.Rect.Dx() < width && w.size == shot.Rect.Size() && count(shot, figure.Blue) > 50
	})
}
