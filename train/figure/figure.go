// Package figure draws curves: panels one below the other with a common horizontal axis.
package figure

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"slices"
	"unicode"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The size of a figure in pixels, and pixels in an inch.
const (
	Width  = 1200
	Height = 750
	dpi    = 150

	minSide = 40 // pixels
)

// Figure is what is drawn.
type Figure struct {
	Title  string
	XLabel string
	Panels []Panel // the first is the tallest; empty ones are left out, but for the first
}

// Panel is a part of a figure with a vertical axis of its own.
type Panel struct {
	YLabel string
	Levels []Curve // horizontal dashed lines, at the first value of Y
	Curves []Curve
	Share  float64 // of the height, where it is not the first; 0: a fifth
}

// Curve is a line through points. Points that are not finite are none.
type Curve struct {
	Name   string // in the legend; "": not there
	Color  color.Color
	X, Y   []float64
	Dots   bool
	Thin   bool
	Dashed bool
}

// Image draws with pixels, Width by Height.
func (f Figure) Image() (image.Image, error) { return f.ImageOf(Width, Height) }

// ImageOf draws with so many pixels. Text and lines are as large as the smaller of both lets them be.
func (f Figure) ImageOf(width, height int) (image.Image, error) {
	if width < minSide || height < minSide {
		return nil, fmt.Errorf("figure: there is no room for curves in %d by %d pixels", width, height)
	}
	density := max(int(dpi*min(float64(width)/Width, float64(height)/Height)), 1)
	pixel := vg.Inch / vg.Length(density)
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Length(width)*pixel, vg.Length(height)*pixel), vgimg.UseDPI(density))
	if err := f.draw(draw.New(canvas)); err != nil {
		return nil, err
	}
	return canvas.Image(), nil
}

// SVG writes the figure as lines and text.
func (f Figure) SVG(w io.Writer) error {
	canvas := vgsvg.New(Width*vg.Inch/dpi, Height*vg.Inch/dpi)
	if err := f.draw(draw.New(canvas)); err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return fmt.Errorf("figure: %w", err)
	}
	legal := bytes.Map(func(r rune) rune { // XML has no other control characters; names of runs may
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, text.Bytes())
	_, err := w.Write(bytes.ReplaceAll(legal, []byte(face), []byte(face+`,Arial,Helvetica,sans-serif`))) // where that is not installed
	return err
}

func (f Figure) draw(c draw.Canvas) error {
	panels := slices.Clone(f.Panels)
	for i := len(panels) - 1; i > 0; i-- {
		if !slices.ContainsFunc(panels[i].Curves, func(c Curve) bool { return len(c.points()) > 0 }) {
			panels = slices.Delete(panels, i, i+1)
		}
	}
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	margin := vg.Points(8)
	c = draw.Crop(c, margin, -2*margin, margin, -margin)
	var plots []*plot.Plot
	last := 0.0 // on the common axis
	for i, panel := range panels {
		p, err := panel.plot(i == 0)
		if err != nil {
			return err
		}
		if p.X.Max > 0 && !math.IsInf(p.X.Max, 0) {
			last = max(last, p.X.Max)
		}
		plots = append(plots, p)
	}
	if last == 0 {
		last = 1
	}
	plots[0].Title.Text = f.Title
	plots[len(plots)-1].X.Label.Text = f.XLabel
	var tiles []draw.Canvas
	left, right := vg.Length(0), c.Max.X // of all panels
	height := c.Size().Y
	top := vg.Length(0) // above the tile
	for i, p := range plots {
		p.X.Min, p.X.Max = 0, last
		share := vg.Length(panels[i].share())
		if i == 0 {
			share = 1
			for _, lower := range panels[1:] {
				share -= vg.Length(lower.share())
			}
		}
		tile := draw.Crop(c, 0, 0, height-top-share*height, -top)
		top += share * height
		tiles = append(tiles, tile)
		inner := p.DataCanvas(tile)
		left, right = max(left, inner.Min.X), min(right, inner.Max.X)
	}
	for i, p := range plots { // steps are below each other
		inner := p.DataCanvas(tiles[i])
		p.Draw(draw.Crop(tiles[i], left-inner.Min.X, right-inner.Max.X, 0, 0))
	}
	return nil
}

func (panel Panel) share() float64 { return cmp.Or(panel.Share, 0.22) }

func (panel Panel) plot(first bool) (*plot.Plot, error) {
	p := plot.New()
	p.Y.Label.Text = panel.YLabel
	style(p)
	if !first && panel.share() < 0.3 {
		p.Y.Tick.Marker = ticks(2)
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, gridColor
	p.Add(grid)
	for _, c := range panel.Levels {
		y := c.Y[0]
		if math.IsNaN(y) || math.IsInf(y, 0) {
			continue
		}
		level := plotter.NewFunction(func(float64) float64 { return y })
		level.Samples = 2
		level.LineStyle = draw.LineStyle{Color: c.Color, Width: vg.Points(1), Dashes: dashes}
		p.Add(level)
		p.Y.Min, p.Y.Max = min(p.Y.Min, y), max(p.Y.Max, y)
		if c.Name != "" {
			p.Legend.Add(c.Name, level)
		}
	}
	for _, c := range panel.Curves {
		if err := c.add(p); err != nil {
			return nil, err
		}
	}
	bounds(p)
	return p, nil
}

func (c Curve) add(p *plot.Plot) error {
	points := c.points()
	if len(points) == 0 {
		return nil
	}
	single := len(points) == 1 // which makes no line
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return fmt.Errorf("figure: %s: %w", c.Name, err)
	}
	line.LineStyle = draw.LineStyle{Color: c.Color, Width: vg.Points(1.2)}
	if c.Thin {
		line.Width = vg.Points(0.6)
	}
	if c.Dashed {
		line.Dashes = dashes
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: c.Color, Radius: vg.Points(2), Shape: draw.CircleGlyph{}}
	p.Add(line)
	entry := []plot.Thumbnailer{line}
	if single || c.Dots && len(points) <= mostDots {
		p.Add(dots)
		entry = append(entry, dots)
	}
	if c.Name != "" {
		p.Legend.Add(c.Name, entry...)
	}
	return nil
}

// mostDots is how many points can be told apart.
const mostDots = 150

// bounds leaves some room above and below the curves.
func bounds(p *plot.Plot) {
	if p.Y.Min > p.Y.Max { // nothing to draw
		p.Y.Min, p.Y.Max = 0, 1
	}
	room := (p.Y.Max - p.Y.Min) * 0.05
	if size := math.Abs(p.Y.Max); room <= size*1e-6 {
		room = max(0.5, size*1e-3)
		if size > 0 && size < 0.5 {
			room = size / 2
		}
	}
	p.Y.Min -= room
	p.Y.Max += room
}
