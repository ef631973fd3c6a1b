package opstest

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// recorder stands for a test that is expected to fail.
type recorder struct {
	testing.TB
	lines []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

var nan, inf = math.NaN(), math.Inf(1)

func TestDistances(t *testing.T) {
	for _, c := range []struct {
		got, want  []float64
		l2, max    float64
		at         int
		withinOnes bool // Close with tolerance 1
	}{
		{[]float64{3, 4}, []float64{3, 4}, 0, 0, -1, true},
		{[]float64{3, 5}, []float64{3, 4}, 0.2, 1, 1, true},
		{[]float64{1, nan, inf}, []float64{1, nan, inf}, 0, 0, -1, true},
		{[]float64{1, 2}, []float64{1, nan}, inf, inf, 1, false},
		{[]float64{nan, 2}, []float64{1, 2}, inf, inf, 0, false},
		{[]float64{-inf}, []float64{inf}, inf, inf, 0, false},
		{[]float64{1e9}, []float64{inf}, inf, inf, 0, false},
		{[]float64{0.5, 0}, []float64{0, 0}, 0.5, 0.5, 0, true},
		{[]float64{1}, []float64{1, 2}, inf, inf, 1, false},
		{nil, nil, 0, 0, -1, true},
	} {
		if l2 := RelL2(c.got, c.want); math.Abs(l2-c.l2) > 1e-15 && l2 != c.l2 {
			t.Errorf("RelL2(%v, %v) = %v, want %v", c.got, c.want, l2, c.l2)
		}
		if d, at := MaxAbs(c.got, c.want); d != c.max || at != c.at {
			t.Errorf("MaxAbs(%v, %v) = %v, %d, want %v, %d", c.got, c.want, d, at, c.max, c.at)
		}
		var r recorder
		if Close(&r, c.got, c.want, 1); (len(r.lines) == 0) != c.withinOnes {
			t.Errorf("Close(%v, %v, 1) says %q", c.got, c.want, r.lines)
		}
	}
	for _, c := range [][3]float64{{1, 2, 0.5}, {nan, nan, 0}, {inf, inf, 0}, {1, nan, inf}, {1, 0, inf}, {0, 0, 0}} {
		if e := RelErr(c[0], c[1]); e != c[2] && !(math.IsNaN(e) && math.IsNaN(c[2])) {
			t.Errorf("RelErr(%v, %v) = %v, want %v", c[0], c[1], e, c[2])
		}
	}
}

func TestCloseNamesIndexAndValues(t *testing.T) {
	var r recorder
	Close(&r, []float32{1, 2.5, 3}, []float64{1, 2, 3}, 1e-3)
	if len(r.lines) != 1 || !strings.Contains(r.lines[0], "[1]: have 2.5, want 2") {
		t.Errorf("Close says %q", r.lines)
	}
	r = recorder{}
	Close(&r, make([]float32, 100), Uniform(1, 100, 1), 0)
	if len(r.lines) != shown+1 {
		t.Errorf("100 wrong values are %d lines, want %d", len(r.lines), shown+1)
	}
}

// A summary notices one wrong entry it knows, a factor, two exchanged values, and a small noise on every value.
func TestGoldenChecksNoticeErrors(t *testing.T) {
	const n, tol = 5000, 1e-6
	x := F64(Uniform(9, n, 1))
	want := Golden{N: n, Norm: Norm64(x), At: []int{17}, Values: floats{x[17]}}
	for p := range uint32(4) {
		dot := 0.0
		for i, u := range Uniform(projectionStream+p, n, 1) {
			dot += float64(u) * x[i]
		}
		want.Projections = append(want.Projections, dot)
	}
	whole := Golden{N: n, All: x}
	noise := Uniform(10, n, 1)
	for _, c := range []struct {
		name   string
		change func(y []float64)
		pass   bool
	}{
		{"nothing", func([]float64) {}, true},
		{"a tenth of the tolerance as noise", func(y []float64) {
			for i := range y {
				y[i] += 0.1 * tol * float64(noise[i])
			}
		}, true},
		{"a known entry", func(y []float64) { y[17] += 1e-3 }, false},
		{"an unknown entry", func(y []float64) { y[18] += 1e-2 }, false},
		{"a factor", func(y []float64) {
			for i := range y {
				y[i] *= 1 + 2*tol
			}
		}, false},
		{"two exchanged", func(y []float64) { y[100], y[101] = y[101], y[100] }, false},
		{"noise", func(y []float64) {
			for i := range y {
				y[i] += 100 * tol * float64(noise[i])
			}
		}, false},
		{"a NaN", func(y []float64) { y[3000] = nan }, false},
	} {
		y := append([]float64(nil), x...)
		c.change(y)
		for kind, g := range map[string]Golden{"summary": want, "whole": whole} {
			var r recorder
			if CheckL2(&r, "y", y, g, tol); (len(r.lines) == 0) != c.pass {
				t.Errorf("%s, %s: CheckL2 says %q", c.name, kind, r.lines)
			}
		}
	}
	var r recorder
	CheckL2(&r, "y", x[1:], want, tol)
	CheckEach(&r, "y", x[1:], want, tol)
	if len(r.lines) != 2 {
		t.Errorf("a missing value: %q", r.lines)
	}
	r = recorder{}
	y := append([]float64(nil), x...)
	y[17] += 1e-3
	CheckEach(&r, "y", y, want, 1e-4)
	if len(r.lines) != 1 || !strings.Contains(r.lines[0], "y[17]") {
		t.Errorf("CheckEach says %q", r.lines)
	}
}

func TestFiniteDifferences(t *testing.T) {
	f := func(x []float64) float64 { return x[0]*x[0]*x[1] + math.Sin(x[2]) }
	Close(t, FiniteDifferences(f, []float64{2, 3, 1}, 1e-5), []float64{12, 4, math.Cos(1)}, 1e-9)
}
