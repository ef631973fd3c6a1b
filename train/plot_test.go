package train

import (
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train/figure"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// madeUpRun is a made-up training run of the given length: a loss falling from log 256.
func madeUpRun(n int64) []Record {
	rng := rand.New(rand.NewPCG(7, 1))
	var records []Record
	for step := int64(0); step <= n; step += 50 {
		smooth := 2.5 + 3.05*math.Exp(-float64(step)/1200)
		r := Record{Step: step}
		if step > 0 {
			r.Loss, r.LR = new(smooth+0.05*rng.NormFloat64()), new(3e-4*(1-float64(step)/float64(n)))
		}
		if step%500 == 0 {
			r.ValLoss = new(smooth + 0.03)
		}
		records = append(records, r)
	}
	return records
}

// countPixels counts the pixels of exactly one color.
func countPixels(img image.Image, want color.RGBA) int {
	n := 0
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if color.RGBAModel.Convert(img.At(x, y)) == want {
				n++
			}
		}
	}
	return n
}

func TestLossPlotFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "loss.png")
	for range 2 { // the second replaces the first
		if err := writeTestPlot(dir); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := img.Bounds(), image.Rect(0, 0, figure.Width, figure.Height); got != want {
		t.Errorf("size %v, want %v", got, want)
	}
	// A curve a thousand pixels wide has at least as many of its color.
	for name, c := range map[string]color.RGBA{"training": figure.Blue, "validation": figure.Vermilion} {
		if n := countPixels(img, c); n < 1000 {
			t.Errorf("%s curve: %d pixels", name, n)
		}
	}
	if n := countPixels(img, figure.Green); n < 1000 {
		t.Errorf("learning rate: %d pixels", n)
	}
	if n := countPixels(img, figure.PaleBlue); n < 50 {
		t.Errorf("losses as measured: %d pixels", n)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "loss.svg")); err != nil || !strings.Contains(string(text), ">learning rate</text>") {
		t.Errorf("loss.svg: %.100q, %v", text, err)
	}
	if n := countPixels(img, figure.Slate); n < 300 {
		t.Errorf("unigram line: %d pixels", n)
	}
	if n := countPixels(img, color.RGBA{255, 255, 255, 255}); n < figure.Width*figure.Height/2 {
		t.Errorf("%d white pixels: the background is not white", n)
	}
}

// Each curve is where its values are: a training loss above the line, a
// validation loss below it.
func TestLossPlotOrder(t *testing.T) {
	var records []Record
	for step := range int64(5) {
		records = append(records, Record{Step: step * 100, Loss: new(4.0), ValLoss: new(2.0)})
	}
	img, err := LossPlot("", records, 3)
	if err != nil {
		t.Fatal(err)
	}
	row := func(want color.RGBA) int {
		x := figure.Width / 2 // left of the legend, right of the labels
		for y := range figure.Height {
			if color.RGBAModel.Convert(img.At(x, y)) == want {
				return y
			}
		}
		return -1
	}
	train, val := row(figure.Blue), row(figure.Vermilion)
	if !(train > 0 && val > train+figure.Height/2) {
		t.Errorf("rows: training %d, validation %d", train, val)
	}
}

func TestLossPlotWithoutCurves(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name       string
		records    []Record
		unigram    float64
		train, val bool
	}{
		{"nothing", nil, nan, false, false},
		{"entropy only", nil, 3.3, false, false},
		{"first evaluation", []Record{{ValLoss: new(5.5)}}, 3.3, false, true},
		{"one step", []Record{{Step: 1, Loss: new(5.5)}}, nan, true, false},
		{"far and flat", []Record{{Step: 1, Loss: new(1e20)}, {Step: 2, Loss: new(1e20)}}, nan, true, false},
		{"zero", []Record{{Step: 1, Loss: new(0.0)}, {Step: 2, Loss: new(0.0)}}, nan, true, false},
		{"not finite", []Record{{Step: 1, Loss: &nan}, {Step: 2, Loss: new(math.Inf(1))}}, 3.3, false, false},
		{"diverged", []Record{{Step: 1, Loss: new(5.5)}, {Step: 2, Loss: new(1e30)}, {Step: 3, Loss: &nan}}, 3.3, true, false},
	} {
		img, err := LossPlot(c.name, c.records, c.unigram)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := countPixels(img, figure.Blue) > 0; got != c.train {
			t.Errorf("%s: training curve drawn: %v", c.name, got)
		}
		if got := countPixels(img, figure.Vermilion) > 0; got != c.val {
			t.Errorf("%s: validation curve drawn: %v", c.name, got)
		}
		if got := countPixels(img, figure.Slate) > 0; got != !math.IsNaN(c.unigram) {
			t.Errorf("%s: unigram line drawn: %v", c.name, got)
		}
	}
}

// writeTestPlot writes the curves of a made-up run.
func writeTestPlot(dir string) error {
	f := lossFigure("cs336_lm_run", madeUpRun(10000), 3.31)
	img, err := f.Image()
	if err != nil {
		return err
	}
	return writePlots(output.OS{}, func(name string) string { return filepath.Join(dir, name) }, f, img)
}
