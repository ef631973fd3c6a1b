package figure

import (
	"math"
	"slices"
	"testing"
)

// A long curve is drawn by few points, among them its extremes, in order.
func TestLongCurvesHaveFewPoints(t *testing.T) {
	var c Curve
	for i := range 100000 {
		c.X, c.Y = append(c.X, float64(10*i)), append(c.Y, math.Sin(float64(i)/3000)+0.1*math.Sin(float64(i*i)))
	}
	c.Y[12345], c.Y[77777], c.Y[500] = 9, -9, math.NaN()
	points := c.points()
	if n := len(points); n > 2*columns+2 || n < columns {
		t.Errorf("%d points", n)
	}
	has := map[[2]float64]bool{}
	for i, p := range points {
		has[[2]float64{p.X, p.Y}] = true
		if i > 0 && p.X <= points[i-1].X {
			t.Fatalf("point %d is at %v after %v", i, p.X, points[i-1].X)
		}
	}
	if !has[[2]float64{123450, 9}] || !has[[2]float64{777770, -9}] {
		t.Error("an extreme is missing")
	}
	c.X, c.Y = c.X[:2*columns+1], c.Y[:2*columns+1]
	if n := len(c.points()); n != 2*columns { // but the one that is no number
		t.Errorf("%d points of a short curve, want %d", n, 2*columns)
	}
}

func TestSmooth(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		y    []float64
		half int
		want []float64
	}{
		{[]float64{9, 5, 4, 3}, 0, []float64{9, 5, 4, 3}},
		{[]float64{9, 6, 3, 6, 9}, 1, []float64{9, 6, 5, 6, 7.5}},
		{[]float64{9, 6, 3, 6, 1}, 5, []float64{9, 6, 5, 5, 5}},
		{[]float64{1, nan, 3}, 1, []float64{1, 2, 3}},
		{nil, 3, []float64{}},
	} {
		if got := Smooth(c.y, c.half); !slices.Equal(got, c.want) {
			t.Errorf("Smooth(%v, %d) is %v, want %v", c.y, c.half, got, c.want)
		}
	}
}
