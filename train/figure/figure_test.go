package figure

import (
	"bytes"
	"encoding/xml"
	"image"
	"io"
	"slices"
	"strings"
	"testing"
)

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
		for _, tick := range roundTicks(c.low, c.high, 5) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%v to %v: got %q, want %q", c.low, c.high, got, c.want)
		}
	}
}

// The text of a picture in SVG is text, whatever characters it has; and curves are lines.
func TestSVG(t *testing.T) {
	f := Figure{Title: `a<b & "c"`, XLabel: "step", Panels: []Panel{
		{YLabel: "loss", Curves: []Curve{{Name: "run <1>\x1b[31m\x00", Color: Blue, X: []float64{0, 10, 20}, Y: []float64{3, 2, 1}}}},
		{YLabel: "learning rate", Curves: []Curve{{Color: Green, X: []float64{0, 20}, Y: []float64{1e-3, 1e-4}}}},
		{YLabel: "empty"},
	}}
	var b bytes.Buffer
	if err := f.SVG(&b); err != nil {
		t.Fatal(err)
	}
	var texts []string
	colors := map[string]int{}
	dec := xml.NewDecoder(&b)
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local == "text" {
			var text string
			if err := dec.DecodeElement(&text, &start); err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		for _, a := range start.Attr {
			for _, c := range []string{"#0072B2", "#009E73"} {
				if a.Name.Local == "style" && strings.Contains(a.Value, "stroke:"+c) {
					colors[c]++
				}
			}
		}
	}
	for _, want := range []string{f.Title, "run <1>\ufffd[31m\ufffd", "loss", "learning rate", "step", "20"} {
		if !slices.Contains(texts, want) {
			t.Errorf("%q is not in %q", want, texts)
		}
	}
	if slices.Contains(texts, "empty") || colors["#0072B2"] < 1 || colors["#009E73"] < 1 {
		t.Errorf("texts %q, lines %v", texts, colors)
	}
}

// A picture has the size that was asked for, where curves have room in it.
func TestImageOf(t *testing.T) {
	f := Figure{Title: "t", Panels: []Panel{{Curves: []Curve{{Color: Blue, X: []float64{0, 1}, Y: []float64{0, 1}}}}}}
	for _, size := range []image.Point{{X: Width, Y: Height}, {X: 2400, Y: 1500}, {X: 601, Y: 1003}, {X: 333, Y: 111}, {X: 40, Y: 40}} {
		img, err := f.ImageOf(size.X, size.Y)
		if err != nil {
			t.Fatal(size, err)
		}
		if got := img.Bounds().Size(); got != size {
			t.Errorf("the picture has %v pixels, want %v", got, size)
		}
	}
	for _, size := range []image.Point{{}, {X: 1200}, {X: -1, Y: 500}, {X: 39, Y: 400}} {
		if _, err := f.ImageOf(size.X, size.Y); err == nil {
			t.Errorf("curves are drawn in %v pixels", size)
		}
	}
}
