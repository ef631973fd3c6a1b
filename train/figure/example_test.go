package figure_test

import (
	"bytes"
	"fmt"
	"log"
	"strings"

	"github.com/lemnos-ml/lemnos/train/figure"
)

// Two runs over each other, as a picture that scales.
func ExampleFigure_SVG() {
	steps := []float64{0, 100, 200, 300}
	var losses figure.Panel
	losses.YLabel = "loss (nats per token)"
	for i, y := range [][]float64{{5.5, 3.2, 2.7, 2.5}, {5.5, 3.5, 3.0, 2.8}} {
		color, dashed := figure.Distinct(i)
		losses.Curves = append(losses.Curves, figure.Curve{Name: fmt.Sprint("run ", i+1), Color: color, Dashed: dashed, X: steps, Y: y})
	}
	var svg bytes.Buffer
	if err := (figure.Figure{Title: "two runs", XLabel: "step", Panels: []figure.Panel{losses}}).SVG(&svg); err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Contains(svg.String(), ">run 2</text>"))
	// Output: true
}
