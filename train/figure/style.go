package figure

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	plottext "gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// Colors that people with color-blindness tell apart (Okabe and Ito).
var (
	Blue       = color.RGBA{0, 114, 178, 255}
	Vermilion  = color.RGBA{213, 94, 0, 255}
	Green      = color.RGBA{0, 158, 115, 255}
	Purple     = color.RGBA{204, 121, 167, 255}
	Orange     = color.RGBA{230, 159, 0, 255}
	SkyBlue    = color.RGBA{86, 180, 233, 255}
	Slate      = color.RGBA{86, 96, 110, 255}
	PaleBlue   = color.RGBA{168, 207, 230, 255}
	gridColor  = color.RGBA{225, 225, 225, 255}
	curveColor = []color.RGBA{Blue, Vermilion, Green, Purple, Orange, SkyBlue, Slate}
)

// Distinct returns the color of curve i of many, and whether it is dashed, as those are that
// have the color of an earlier one.
func Distinct(i int) (c color.RGBA, dashed bool) {
	return curveColor[i%len(curveColor)], i/len(curveColor)%2 == 1
}

var dashes = []vg.Length{vg.Points(5), vg.Points(3)}

// face is how the files of SVG call the type of all text.
const face = "font-family:Liberation Sans"

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
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks(5), ticks(5)
	p.Legend.Top = true
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(6), -vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(24)
}

// ticks labels multiples of 1, 2 or 5 times a power of ten: at least so many, and no more
// than that takes.
func ticks(least float64) plot.TickerFunc {
	return func(low, high float64) []plot.Tick { return roundTicks(low, high, least) }
}

func roundTicks(low, high, least float64) []plot.Tick {
	power := math.Pow(10, math.Floor(math.Log10((high-low)/least)))
	gap := power
	for _, n := range []float64{2, 5} {
		if (high-low)/(n*power) >= least {
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
