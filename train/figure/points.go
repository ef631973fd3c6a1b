package figure

import (
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
)

// columns is in how many parts of the horizontal axis a long curve is drawn: of each the
// lowest and the highest point, so that the picture is the same. What takes time to draw is
// the square of it.
const columns = 500

// points returns the finite points, at most two for each column where there are more.
func (c Curve) points() plotter.XYs {
	var all plotter.XYs
	for i, y := range c.Y {
		if x := c.X[i]; y-y == 0 && x-x == 0 {
			all = append(all, plotter.XY{X: x, Y: y})
		}
	}
	if len(all) <= 2*columns {
		return all
	}
	first, last := all[0].X, all[len(all)-1].X
	column := func(p plotter.XY) int { return int((p.X - first) / (last - first) * (columns - 1)) }
	kept := all[:0:0]
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(p plotter.XY) bool { return column(p) != column(all[0]) })
		if n < 0 {
			n = len(all)
		}
		low, high := 0, 0
		for i, p := range all[:n] {
			if p.Y < all[low].Y {
				low = i
			}
			if p.Y > all[high].Y {
				high = i
			}
		}
		kept = append(kept, all[min(low, high)])
		if low != high {
			kept = append(kept, all[max(low, high)])
		}
		all = all[n:]
	}
	return kept
}

// Smooth returns the means of y over up to half values on either side. Near the beginning there
// are as many on both, so that a curve that falls there stays where it is. Values that are
// not finite count for nothing.
func Smooth(y []float64, half int) []float64 {
	sums, counts := make([]float64, len(y)+1), make([]float64, len(y)+1)
	for i, v := range y {
		sums[i+1], counts[i+1] = sums[i], counts[i]
		if v-v == 0 {
			sums[i+1] += v
			counts[i+1]++
		}
	}
	mean := make([]float64, len(y))
	for i := range y {
		first, end := i-min(half, i), i+1+min(half, i, len(y)-1-i)
		mean[i] = (sums[end] - sums[first]) / (counts[end] - counts[first])
		if math.Abs(mean[i]) > math.MaxFloat32 { // nothing but rounding is left beside such values
			mean[i] = math.NaN()
		}
	}
	return mean
}
