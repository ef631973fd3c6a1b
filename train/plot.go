package train

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"

	"github.com/lemnos-ml/lemnos/train/figure"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// LossPlot draws the training and the validation loss over the steps, the entropy
// of the unigram distribution, in nats per token, as a horizontal line to beat, and
// below them the learning rate. Losses that were not measured or are not finite
// leave no point; unigram NaN leaves no line. Many training losses are pale behind
// their moving mean.
func LossPlot(title string, records []Record, unigram float64) (image.Image, error) {
	return lossFigure(title, records, unigram).Image()
}

// manyLosses is from how many points on a curve is smoothed, over a share of it.
const (
	manyLosses  = 200
	smoothShare = 50
)

func lossFigure(title string, records []Record, unigram float64) figure.Figure {
	loss, val := curve(records, func(r Record) *float64 { return r.Loss }), curve(records, func(r Record) *float64 { return r.ValLoss })
	rate := curve(records, func(r Record) *float64 { return r.LR })
	loss.Color, val.Color, rate.Color = figure.Blue, figure.Vermilion, figure.Green
	loss.Name, val.Name = "training loss", "validation loss"
	val.Dots = true
	var losses figure.Panel
	losses.YLabel = "loss (nats per token)"
	if len(loss.Y) >= manyLosses {
		raw := loss
		raw.Name, raw.Color, raw.Thin = "", figure.PaleBlue, true
		losses.Curves = append(losses.Curves, raw)
		loss.Y = figure.Smooth(loss.Y, len(loss.Y)/smoothShare)
		loss.Name += ", mean"
	}
	for _, c := range []figure.Curve{loss, val} {
		if n := len(c.Y); n > 0 {
			c.Name = fmt.Sprintf("%s %.3f", c.Name, c.Y[n-1])
		}
		losses.Curves = append(losses.Curves, c)
	}
	losses.Levels = []figure.Curve{{Name: fmt.Sprintf("unigram entropy %.3f", unigram), Color: figure.Slate, Y: []float64{unigram}}}
	return figure.Figure{Title: title, XLabel: "step", Panels: []figure.Panel{losses, {YLabel: "learning rate", Curves: []figure.Curve{rate}}}}
}

// curve picks the points that can be drawn.
func curve(records []Record, of func(Record) *float64) (c figure.Curve) {
	for _, r := range records {
		if y := of(r); y != nil && isFinite(*y) {
			c.X, c.Y = append(c.X, float64(r.Step)), append(c.Y, *y)
		}
	}
	return c
}

// writePlots writes a figure as loss.svg and its picture as loss.png. Each is the new one,
// whole, or stays as it was.
func writePlots(files output.System, path func(name string) string, f figure.Figure, picture image.Image) error {
	var failed []error
	for _, file := range []struct {
		name string
		draw func(io.Writer) error
	}{
		{svgName, f.SVG},
		{plotName, func(w io.Writer) error { return png.Encode(w, picture) }},
	} {
		if err := output.Write(files, path(file.name), func(w output.File) error { return file.draw(w) }); err != nil {
			failed = append(failed, fmt.Errorf("train: write %s: %w", path(file.name), err))
		}
	}
	return errors.Join(failed...)
}
