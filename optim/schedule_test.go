package optim

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Golden rates written by testdata/schedule.py, compared bit for bit.
func TestSpec3GoldenRates(t *testing.T) {
	data, err := os.ReadFile("testdata/schedule.json")
	if err != nil {
		t.Fatal(err)
	}
	var records []struct {
		Name        string
		Max, Min    string
		Warmup, End int64
		Rates       map[int64]string
	}
	if err := json.Unmarshal(data, &records); err != nil {
		t.Fatal(err)
	}
	if len(records) == 0 {
		t.Fatal("no golden schedules")
	}
	for _, r := range records {
		t.Run(r.Name, func(t *testing.T) {
			c := Cosine{Max: parse(t, r.Max), Min: parse(t, r.Min), Warmup: r.Warmup, End: r.End}
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			if len(r.Rates) == 0 {
				t.Fatal("no golden rates")
			}
			for step, hex := range r.Rates {
				if got, want := c.At(step), parse(t, hex); got != want {
					t.Errorf("step %d: got %x, want %x", step, got, want)
				}
			}
		})
	}
}

func parse(t *testing.T, hex string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(hex, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSpec3Boundaries(t *testing.T) {
	const top, bottom = 3e-4, 3e-5
	// The rate at step Warmup is Min + (Max−Min), which need not be Max itself.
	low := float64(bottom)
	peak := low + (top - low)
	for _, c := range []struct {
		name        string
		warmup, end int64
		step        int64
		want        float64
	}{
		{"first step", 200, 10000, 0, 0},
		{"half of the warm-up", 200, 10000, 100, top / 2},
		{"t = Tw", 200, 10000, 200, peak},
		{"half of the descent", 200, 10000, 5100, 1.65e-4},
		{"t = Tc", 200, 10000, 10000, bottom},
		{"t = Tc+1", 200, 10000, 10001, bottom},
		{"far behind", 200, 10000, math.MaxInt64, bottom},
		{"Tw = 0, t = 0", 0, 100, 0, peak},
		{"Tw = 0, t = Tc", 0, 100, 100, bottom},
		{"Tc = Tw, t = Tw-1", 50, 50, 49, top * 49 / 50},
		{"Tc = Tw, t = Tw", 50, 50, 50, peak},
		{"Tc = Tw, t = Tw+1", 50, 50, 51, bottom},
		{"Tc = Tw = 0, t = 0", 0, 0, 0, peak},
		{"Tc = Tw = 0, t = 1", 0, 0, 1, bottom},
	} {
		got := Cosine{Max: top, Min: bottom, Warmup: c.warmup, End: c.end}.At(c.step)
		if math.Abs(got-c.want) > 1e-16*top || c.want == bottom && got != bottom {
			t.Errorf("%s: got %x, want %x", c.name, got, c.want)
		}
	}
}

func TestSpec3CosineIsCorrectlyRounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	angles := []float64{0, 1e-300, 1e-9, math.Pi / 4, math.Nextafter(math.Pi/4, 0), math.Pi / 2,
		math.Nextafter(math.Pi/2, 4), 3 * math.Pi / 4, math.Pi, math.Nextafter(math.Pi, 0)}
	for range 2000 {
		angles = append(angles, rng.Float64()*math.Pi)
	}
	for _, x := range angles {
		if got, want := cos(x), bigCos(x); got != want {
			t.Errorf("cos(%x): got %x, want %x", x, got, want)
		}
	}
}

// bigCos sums the Taylor series in 300 bits.
func bigCos(x float64) float64 {
	number := func(v float64) *big.Float { return new(big.Float).SetPrec(300).SetFloat64(v) }
	square := number(x)
	square.Mul(square, number(-x))
	total, term := number(1), number(1)
	for n := 1.0; n < 80; n += 2 {
		term.Mul(term, square)
		term.Quo(term, number(n*(n+1)))
		total.Add(total, term)
	}
	v, _ := total.Float64()
	return v
}

func TestScheduleWSD(t *testing.T) {
	w := WSD{Max: 1, Min: 0.25, Warmup: 4, Decay: 8, End: 12}
	want := []float64{0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.8125, 0.625, 0.4375, 0.25, 0.25}
	for step, want := range want {
		if got := w.At(int64(step)); got != want {
			t.Errorf("step %d: got %v, want %v", step, got, want)
		}
	}
	sudden := WSD{Max: 1, Min: 0.25, Decay: 3, End: 3}
	for step, want := range []float64{1, 1, 1, 1, 0.25} {
		if got := sudden.At(int64(step)); got != want {
			t.Errorf("no decay, step %d: got %v, want %v", step, got, want)
		}
	}
}

func TestScheduleDoesNotAllocate(t *testing.T) {
	var total float64
	for _, s := range []Schedule{Constant(1e-3), Cosine{3e-4, 3e-5, 200, 10000}, WSD{3e-4, 3e-5, 200, 8000, 10000}} {
		step := int64(0)
		if n := testing.AllocsPerRun(1000, func() { total += s.At(step); step += 11 }); n != 0 {
			t.Errorf("%T: %v allocations per step", s, n)
		}
	}
	if !(total > 0) {
		t.Errorf("the rates add up to %v", total)
	}
}

func TestSpec3Validate(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		schedule interface{ Validate() error }
		want     string // parts of the message separated by |, "" for none
	}{
		{Constant(0), ""},
		{Constant(-1e-3), "Constant|-0.001"},
		{Constant(nan), "Constant|NaN"},
		{Constant(inf), "Constant|+Inf"},

		{Cosine{3e-4, 3e-5, 200, 10000}, ""},
		{Cosine{0, 0, 0, 0}, ""},
		{Cosine{1, 0, 7, 7}, ""},
		{Cosine{-3e-4, 3e-5, 200, 10000}, "Cosine.Max|-0.0003"},
		{Cosine{nan, 3e-5, 200, 10000}, "Cosine.Max|NaN"},
		{Cosine{inf, 3e-5, 200, 10000}, "Cosine.Max|+Inf"},
		{Cosine{3e-4, -3e-5, 200, 10000}, "Cosine.Min|-3e-05"},
		{Cosine{3e-4, nan, 200, 10000}, "Cosine.Min|NaN"},
		{Cosine{3e-4, -inf, 200, 10000}, "Cosine.Min|-Inf"},
		{Cosine{1, 1, 0, 7}, ""},
		{Cosine{1, 2, 0, 7}, "Cosine.Min is 2, above Cosine.Max, which is 1"},
		{Cosine{3e-4, 3e-5, -1, 10000}, "Cosine.Warmup|-1"},
		{Cosine{3e-4, 3e-5, 0, -5}, "Cosine.End|-5"},
		{Cosine{3e-4, 3e-5, 200, 199}, "Cosine.End|199|Cosine.Warmup|200"},

		{WSD{3e-4, 0, 200, 8000, 10000}, ""},
		{WSD{nan, 0, 200, 8000, 10000}, "WSD.Max|NaN"},
		{WSD{3e-4, -1, 200, 8000, 10000}, "WSD.Min|-1"},
		{WSD{1, 1, 0, 7, 7}, ""},
		{WSD{1, 2, 0, 7, 7}, "WSD.Min is 2, above WSD.Max, which is 1"},
		{WSD{3e-4, 0, -2, 8000, 10000}, "WSD.Warmup|-2"},
		{WSD{3e-4, 0, 200, 199, 10000}, "WSD.Decay|199|WSD.Warmup|200"},
		{WSD{3e-4, 0, 200, 8000, 7999}, "WSD.End|7999|WSD.Decay|8000"},
	} {
		err := c.schedule.Validate()
		if c.want == "" {
			if err != nil {
				t.Errorf("%T%v: %v", c.schedule, c.schedule, err)
			}
			continue
		}
		for part := range strings.SplitSeq("optim: |"+c.want, "|") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%T%v: error %v does not name %q", c.schedule, c.schedule, err, part)
			}
		}
	}
}
