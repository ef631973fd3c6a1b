package opstest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// parseFloats reads a JSON list of numbers in which NaN and the infinities are the strings "NaN", "+Inf", "-Inf".
func parseFloats(data []byte) ([]float64, error) {
	var raw []any
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	list := make([]float64, len(raw))
	for i, r := range raw {
		x, err := toFloat(r)
		if err != nil {
			return nil, err
		}
		list[i] = x
	}
	return list, nil
}

func toFloat(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case string:
		return strconv.ParseFloat(v, 64)
	}
	return 0, fmt.Errorf("opstest: %v is no number", v)
}

type floats []float64

func (f *floats) UnmarshalJSON(data []byte) (err error) {
	*f, err = parseFloats(data)
	return err
}

// number is a float64 that may be spelled "NaN", "+Inf" or "-Inf".
type number float64

func (n *number) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	x, err := toFloat(v)
	*n = number(x)
	return err
}

// Golden is an expected tensor: every value of a short one; of a long one the L2 norm, some entries, and the scalar
// products with a few vectors of the streams.
type Golden struct {
	N           int     `json:"n"`
	All         floats  `json:"all"`
	Norm        float64 `json:"norm"`
	At          []int   `json:"at"`
	Values      floats  `json:"values"`
	Projections floats  `json:"projections"`
}

// projectionStream is the stream of the first vector of Golden.Projections; the following have the next numbers.
const projectionStream = 0x9E0001

// Known calls yield with every entry whose value is known.
func (g Golden) Known(yield func(i int, want float64) bool) {
	at := func(j int) int { return j }
	values := g.All
	if g.All == nil {
		at = func(j int) int { return g.At[j] }
		values = g.Values
	}
	for j, v := range values {
		if !yield(at(j), v) {
			return
		}
	}
}

// CheckEach fails t unless every known entry of want is met as Close asks: |got - want| <= tol * max(1, |want|).
func CheckEach[F Float](t testing.TB, what string, got []F, want Golden, tol float64) {
	t.Helper()
	if len(got) != want.N {
		t.Errorf("%s: have %d values, want %d", what, len(got), want.N)
		return
	}
	wrong := 0
	for i, w := range want.Known {
		if !near(float64(got[i]), w, tol) {
			if wrong++; wrong <= shown {
				t.Errorf("%s[%d]: have %v, want %v (tolerance %g)", what, i, got[i], w, tol)
			}
		}
	}
}

// CheckL2 fails t unless got is within the relative L2 error tol of want. Of a long tensor the norm must agree within
// tol, each sampled entry within tol of the norm, and each projection within 4 tol of the norm: errors that know nothing of
// the projection's vector stay below that (7 sigma) where their L2 norm is below tol.
func CheckL2[F Float](t testing.TB, what string, got []F, want Golden, tol float64) {
	t.Helper()
	if len(got) != want.N {
		t.Errorf("%s: have %d values, want %d", what, len(got), want.N)
		return
	}
	if want.All != nil {
		if e := RelL2(got, want.All); !(e <= tol) {
			d, at := MaxAbs(got, want.All)
			t.Errorf("%s: relative L2 error %.3g > %g; largest error %.3g at [%d]: have %v, want %v",
				what, e, tol, d, at, got[max(at, 0)], want.All[max(at, 0)])
		}
		return
	}
	limit := tol * want.Norm
	if norm := Norm64(got); !(math.Abs(norm-want.Norm) <= limit) {
		t.Errorf("%s: norm %v, want %v (tolerance %g)", what, norm, want.Norm, tol)
	}
	for i, w := range want.Known {
		if !(math.Abs(float64(got[i])-w) <= limit) {
			t.Errorf("%s[%d]: have %v, want %v (norm %v, tolerance %g)", what, i, got[i], w, want.Norm, tol)
		}
	}
	for p, w := range want.Projections {
		dot := 0.0
		for i, u := range Uniform(projectionStream+uint32(p), want.N, 1) {
			dot += float64(u) * float64(got[i])
		}
		if !(math.Abs(dot-w) <= 4*limit) {
			t.Errorf("%s: projection %d is %v, want %v (norm %v, tolerance %g)", what, p, dot, w, want.Norm, tol)
		}
	}
}

// load reads a golden file, a JSON list of cases, given by its path below the module's root.
func load[C any](t testing.TB, path ...string) []C {
	t.Helper()
	var cases []C
	if err := json.Unmarshal(read(t, path...), &cases); err != nil {
		t.Fatalf("opstest: %s: %v", filepath.Join(path...), err)
	}
	if len(cases) == 0 {
		t.Fatalf("opstest: %s: no cases", filepath.Join(path...))
	}
	return cases
}

// read returns the bytes of a golden file given by its path below the module's root.
func read(t testing.TB, path ...string) []byte {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatalf("opstest: golden values: %v", err)
	}
	return data
}

// moduleRoot finds the folder of go.mod from the folder that the test runs in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("opstest: no go.mod above the folder of the test")
		}
		dir = parent
	}
	return "", err
}
