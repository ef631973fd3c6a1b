package train

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	plottext "gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// The size of a loss plot in pixels.
const (
	plotWidth  = 1200
	plotHeight = 750
)

const plotDPI = 150

// Colors that people with color-blindness tell apart (Okabe and Ito).
var (
	trainColor   = color.RGBA{0, 114, 178, 255}   // blue
	valColor     = color.RGBA{213, 94, 0, 255}    // vermilion
	unigramColor = color.RGBA{86, 96, 110, 255}   // slate
	gridColor    = color.RGBA{225, 225, 225, 255} // light gray
)

// LossPlot draws the training and the validation loss over the steps, and the
// entropy of the unigram distribution, in nats per token, as a horizontal line
// to beat. Losses that were not measured or are not finite leave no point;
// unigram NaN leaves no line.
func LossPlot(title string, records []Record, unigram float64) (image.Image, error) {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "step"
	p.Y.Label.Text = "loss (nats per token)"
	style(p)

	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, gridColor
	p.Add(grid)

	if !math.IsNaN(unigram) {
		reference := plotter.NewFunction(func(float64) float64 { return unigram })
		reference.Samples = 2
		reference.LineStyle = draw.LineStyle{Color: unigramColor, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(5), vg.Points(3)}}
		p.Add(reference)
		p.Legend.Add(fmt.Sprintf("unigram entropy %.3f", unigram), reference)
		p.Y.Min, p.Y.Max = unigram, unigram
	}
	for _, c := range []struct {
		name  string
		color color.Color
		of    func(Record) *float64
		dots  bool
	}{
		{"training loss", trainColor, func(r Record) *float64 { return r.Loss }, false},
		{"validation loss", valColor, func(r Record) *float64 { return r.ValLoss }, true},
	} {
		points := finite(records, c.of)
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("train: plot: %s: %w", c.name, err)
		}
		line.LineStyle = draw.LineStyle{Color: c.color, Width: vg.Points(1.2)}
		dots.GlyphStyle = draw.GlyphStyle{Color: c.color, Radius: vg.Points(2), Shape: draw.CircleGlyph{}}
		p.Add(line)
		entry := []plot.Thumbnailer{line}
		if c.dots || len(points) == 1 { // one point makes no line
			p.Add(dots)
			entry = append(entry, dots)
		}
		p.Legend.Add(fmt.Sprintf("%s %.3f", c.name, points[len(points)-1].Y), entry...)
	}
	bounds(p)

	canvas := vgimg.NewWith(vgimg.UseWH(plotWidth*vg.Inch/plotDPI, plotHeight*vg.Inch/plotDPI), vgimg.UseDPI(plotDPI))
	margin := vg.Points(8)
	p.Draw(draw.Crop(draw.New(canvas), margin, -2*margin, margin, -margin))
	return canvas.Image(), nil
}

// writePNG writes an image, or leaves what was there.
func writePNG(files output.System, path string, img image.Image) error {
	err := output.Write(files, path, func(w output.File) error { return png.Encode(w, img) })
	if err != nil {
		return fmt.Errorf("train: write %s: %w", path, err)
	}
	return nil
}

// style sets one sans-serif face for all text and puts the legend into the
// corner that falling curves leave free.
func style(p *plot.Plot) {
	for _, s := range []struct {
		text *plottext.Style
		size float64
	}{
		{&p.Title.TextStyle, 12},
		{&p.X.Label.TextStyle, 10},
		{&p.Y.Label.TextStyle, 10},
		{&p.X.Tick.Label, 9},
		{&p.Y.Tick.Label, 9},
		{&p.Legend.TextStyle, 9},
	} {
		s.text.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(s.size)}
	}
	p.BackgroundColor = color.White
	p.Title.Padding = vg.Points(6)
	p.X.Padding, p.Y.Padding = 0, 0
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(roundTicks), plot.TickerFunc(roundTicks)
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(6), -vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(24)
}

// roundTicks labels five to ten multiples of 1, 2 or 5 times a power of ten.
func roundTicks(low, high float64) []plot.Tick {
	power := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	gap := power
	for _, n := range []float64{2, 5} {
		if (high-low)/(n*power) >= 5 {
			gap = n * power
		}
	}
	var ticks []plot.Tick
	const slack = 1e-9 // of a gap, for bounds that are multiples but for rounding
	first, last := math.Ceil(low/gap-slack), math.Floor(high/gap+slack)
	for i := 0.0; i <= last-first; i++ {
		v := (first + i) * gap
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 7, 64)})
	}
	return ticks
}

// bounds leaves some room above and below the curves and starts at step 0.
func bounds(p *plot.Plot) {
	p.X.Min = 0
	if !(p.X.Max > 0) || math.IsInf(p.X.Max, 0) {
		p.X.Max = 1
	}
	if p.Y.Min > p.Y.Max { // nothing to draw
		p.Y.Min, p.Y.Max = 0, 1
	}
	room := (p.Y.Max - p.Y.Min) * 0.05
	if size := math.Abs(p.Y.Max); room <= size*1e-6 {
		room = max(0.5, size*1e-3)
	}
	p.Y.Min -= room
	p.Y.Max += room
}

// finite picks the points of a curve that can be drawn.
func finite(records []Record, of func(Record) *float64) plotter.XYs {
	var points plotter.XYs
	for _, r := range records {
		if y := of(r); y != nil && !math.IsNaN(*y) && !math.IsInf(*y, 0) {
			points = append(points, plotter.XY{X: float64(r.Step), Y: *y})
		}
	}
	return points
}
