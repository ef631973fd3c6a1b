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
			r.Loss = new(smooth + 0.05*rng.NormFloat64())
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
	path := filepath.Join(t.TempDir(), "run", "loss.png")
	for range 2 { // the second replaces the first
		if err := writeTestPlot(path); err != nil {
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
	if got, want := img.Bounds(), image.Rect(0, 0, plotWidth, plotHeight); got != want {
		t.Errorf("size %v, want %v", got, want)
	}
	// A curve a thousand pixels wide has at least as many of its color.
	for name, c := range map[string]color.RGBA{"training": trainColor, "validation": valColor} {
		if n := countPixels(img, c); n < 1000 {
			t.Errorf("%s curve: %d pixels", name, n)
		}
	}
	if n := countPixels(img, unigramColor); n < 300 {
		t.Errorf("unigram line: %d pixels", n)
	}
	if n := countPixels(img, color.RGBA{255, 255, 255, 255}); n < plotWidth*plotHeight/2 {
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
		x := plotWidth / 2 // left of the legend, right of the labels
		for y := range plotHeight {
			if color.RGBAModel.Convert(img.At(x, y)) == want {
				return y
			}
		}
		return -1
	}
	train, val := row(trainColor), row(valColor)
	if !(train > 0 && val > train+plotHeight/2) {
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
		if got := countPixels(img, trainColor) > 0; got != c.train {
			t.Errorf("%s: training curve drawn: %v", c.name, got)
		}
		if got := countPixels(img, valColor) > 0; got != c.val {
			t.Errorf("%s: validation curve drawn: %v", c.name, got)
		}
		if got := countPixels(img, unigramColor) > 0; got != !math.IsNaN(c.unigram) {
			t.Errorf("%s: unigram line drawn: %v", c.name, got)
		}
	}
}

func TestRoundTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{
		{0, 10000, "0 2000 4000 6000 8000 10000"},
		{0, 1, "0 0.2 0.4 0.6 0.8 1"},
		{2.2, 5.7, "2.5 3 3.5 4 4.5 5 5.5"},
		{2.4, 2.9, "2.4 2.5 2.6 2.7 2.8 2.9"},
		{-0.1, 0.3, "-0.1 -0.05 0 0.05 0.1 0.15 0.2 0.25 0.3"},
		{0, 5e8, "0 1e+08 2e+08 3e+08 4e+08 5e+08"},
	} {
		var labels []string
		for _, tick := range roundTicks(c.low, c.high) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%v to %v: got %q, want %q", c.low, c.high, got, c.want)
		}
	}
}

// writeTestPlot writes the curves of a made-up run.
func writeTestPlot(path string) error {
	img, err := LossPlot("cs336_lm_run", madeUpRun(10000), 3.31)
	if err != nil {
		return err
	}
	return writePNG(output.OS{}, path, img)
}
