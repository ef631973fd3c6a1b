package opstest

import (
	"math"
	"testing"
)

// same reports whether both are NaN, or both the same number or infinity.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// difference returns |got - want|: 0 where both are NaN or the same infinity, +Inf where only one is finite or they are
// different kinds of not finite.
func difference(got, want float64) float64 {
	if same(got, want) {
		return 0
	}
	d := math.Abs(got - want)
	if math.IsNaN(d) {
		return math.Inf(1)
	}
	return d
}

// RelErr returns |got - want| / |want|: 0 where both are NaN, the same infinity or 0, +Inf where they can't be compared.
func RelErr(got, want float64) float64 {
	d := difference(got, want)
	if d == 0 || math.IsInf(d, 1) {
		return d
	}
	return d / math.Abs(want)
}

// RelL2 returns ||got - want|| / ||want||. Entries where both are NaN or the same infinity are left out, an entry
// where only one is makes it +Inf. The absolute norm of got is returned where want is all zeros, so that 0 means equal.
// Slices of different lengths are infinitely far apart.
func RelL2[F, W Float](got []F, want []W) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var err, norm float64
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		d := difference(g, w)
		err += d * d
		if !math.IsNaN(w) && !math.IsInf(w, 0) {
			norm += w * w
		}
	}
	if norm == 0 {
		return math.Sqrt(err)
	}
	return math.Sqrt(err / norm)
}

// MaxAbs returns the largest |got - want| and where it is; (0, -1) when all are equal, (+Inf, i) at the first entry that
// can't be compared (only one is NaN or infinite) or that one slice lacks.
func MaxAbs[F, W Float](got []F, want []W) (float64, int) {
	largest, at := 0.0, -1
	for i := range min(len(got), len(want)) {
		if d := difference(float64(got[i]), float64(want[i])); d > largest {
			largest, at = d, i
		}
	}
	if len(got) != len(want) && !math.IsInf(largest, 1) {
		return math.Inf(1), min(len(got), len(want))
	}
	return largest, at
}

// shown is how many wrong entries Close prints.
const shown = 5

// Close fails t unless every |got[i] - want[i]| <= tol * max(1, |want[i]|), NaN meeting NaN and infinity the same
// infinity. The first few wrong entries are printed with their index. A tol of 0 asks for equal values.
func Close[F, W Float](t testing.TB, got []F, want []W, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("have %d values, want %d", len(got), len(want))
		return
	}
	wrong := 0
	for i := range got {
		if !near(float64(got[i]), float64(want[i]), tol) {
			if wrong++; wrong <= shown {
				t.Errorf("[%d]: have %v, want %v (tolerance %g)", i, got[i], want[i], tol)
			}
		}
	}
	if wrong > shown {
		t.Errorf("… %d of %d values are wrong", wrong, len(got))
	}
}

func near(got, want, tol float64) bool {
	d := difference(got, want)
	return d == 0 || !math.IsInf(d, 1) && d <= tol*math.Max(1, math.Abs(want))
}

// FiniteDifferences returns the gradient of f at x by central differences of width 2h. f must not keep its argument.
func FiniteDifferences(f func(x []float64) float64, x []float64, h float64) []float64 {
	x = append([]float64(nil), x...)
	grad := make([]float64, len(x))
	for i, old := range x {
		x[i] = old + h
		above := f(x)
		x[i] = old - h
		grad[i] = (above - f(x)) / (2 * h)
		x[i] = old
	}
	return grad
}
