package comparecmd

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/figure"
)

// axis is what the horizontal axis may have.
type axis struct {
	label string
	units []unit // the largest that the axis has some of is taken; nil: label says it
	// of returns where a record is, and false where that is not known.
	of func(*runData, train.Record) (float64, bool)
	// unknown says why, and what to do.
	unknown string
}

// unit is so many of what of returns.
type unit struct {
	label string
	size  float64
}

// few is how many of a unit an axis has at least.
const few = 3

var axes = map[string]axis{
	"step": {"step", nil, func(_ *runData, r train.Record) (float64, bool) { return float64(r.Step), true }, ""},
	"tokens": {"training tokens", nil, func(d *runData, r train.Record) (float64, bool) {
		n := d.stepTokens()
		return float64(r.Step * n), n > 0
	}, "how many tokens a step has is in its config.json, which is not there: draw by step"},
	"time": {"seconds of training", []unit{{"minutes of training", 60}, {"hours of training", 3600}, {"days of training", 86400}}, func(_ *runData, r train.Record) (float64, bool) {
		if r.ElapsedS == nil {
			return 0, false
		}
		return *r.ElapsedS, true
	}, "its records have no elapsed_s, which older versions did not write: draw by step"},
}

func axisNames() []string {
	names := slices.Sorted(maps.Keys(axes))
	slices.SortStableFunc(names, func(a, b string) int { // the default first
		switch {
		case a == "step":
			return -1
		case b == "step":
			return 1
		}
		return 0
	})
	return names
}

// manyLosses is from how many points on a curve is smoothed, over a share of it.
const (
	manyLosses  = 200
	smoothShare = 50
)

// draw draws validation losses, and below them training losses.
func draw(runs []*runData, x axis) figure.Figure {
	validation, training := figure.Panel{YLabel: "validation loss"}, figure.Panel{YLabel: "training loss", Share: 0.5}
	for i, r := range runs {
		val, tr := r.curve(x, valLoss), r.curve(x, loss)
		color, dashed := figure.Distinct(i)
		val.Color, val.Dashed, val.Dots = color, dashed, true
		tr.Color, tr.Dashed = color, dashed
		if len(tr.Y) >= manyLosses {
			tr.Y = figure.Smooth(tr.Y, len(tr.Y)/smoothShare)
		}
		validation.Curves, training.Curves = append(validation.Curves, val), append(training.Curves, tr)
	}
	panels := []figure.Panel{validation, training}
	label := x.scale(panels)
	if !slices.ContainsFunc(validation.Curves, func(c figure.Curve) bool { return len(c.Y) > 0 }) {
		panels = panels[1:]
	}
	for i := range runs {
		panels[0].Curves[i].Name = runs[i].name
	}
	return figure.Figure{Title: "losses in nats per token", XLabel: label, Panels: panels}
}

// scale measures the axis of panels in a unit that suits it, and returns its label.
func (x axis) scale(panels []figure.Panel) (label string) {
	var curves []figure.Curve
	for _, p := range panels {
		curves = append(curves, p.Curves...)
	}
	last := 0.0
	for _, c := range curves {
		for _, v := range c.X {
			last = max(last, v)
		}
	}
	best := unit{x.label, 1}
	for _, u := range x.units {
		if last >= few*u.size {
			best = u
		}
	}
	for _, c := range curves {
		for i := range c.X {
			c.X[i] /= best.size
		}
	}
	return best.label
}

// along returns the runs of which it is known where on an axis they are. Its error is of the others.
func along(x axis, runs []*runData) (known []*runData, failed error) {
	for _, r := range runs {
		if slices.ContainsFunc(r.records, func(rec train.Record) bool { _, ok := x.of(r, rec); return !ok }) {
			failed = errors.Join(failed, fmt.Errorf("compare: run %s: %s", r.name, x.unknown))
			continue
		}
		known = append(known, r)
	}
	return known, failed
}

// curve returns the finite values of a field.
func (r *runData) curve(x axis, of func(train.Record) *float64) (c figure.Curve) {
	for _, rec := range r.records {
		if y := of(rec); y != nil && *y-*y == 0 {
			at, _ := x.of(r, rec)
			c.X, c.Y = append(c.X, at), append(c.Y, *y)
		}
	}
	return c
}
