package optim

import "math"

// cos returns the cosine of x, 0 ≤ x ≤ π, rounded once to float64.
//
// math.Cos is off by one unit in the last place for a quarter of the angles of
// a schedule and differs between processors. The sum here carries about 100
// bits, so that its rounding is that of the exact value, and the C library that
// Python calls gives the same bits.
func cos(x float64) float64 {
	// x = k·π/2 + r with |r| ≤ π/4. π/2 comes in three parts because the
	// subtraction cancels up to 53 bits; k ≤ 2, so the products are exact.
	const (
		part1 = 0x1.921fb54442d18p+0
		part2 = 0x1.1a62633145c07p-54
		part3 = -0x1.f1976b7ed8fbcp-110
	)
	k := math.RoundToEven(x * (2 / math.Pi))
	r := sum(float64(x-float64(k*part1)), float64(-k*part2))
	r = r.add(double{float64(-k * part3), 0})

	switch k {
	case 0:
		return series(double{1, 0}, r, 1).hi
	case 1:
		return -series(r, r, 2).hi
	default:
		return -series(double{1, 0}, r, 1).hi
	}
}

// series sums the Taylor series whose first term is given and in which each
// following term is the last times −r²/(n(n+1)), n growing by 2: the cosine of
// r from 1 and n = 1, the sine from r and n = 2.
func series(first, r double, n float64) double {
	square := r.mul(r)
	total, term := first, first
	for range 14 { // (π/4)²⁸/28! < 2⁻¹⁰⁶
		term = term.mul(square).div(-n * (n + 1))
		total = total.add(term)
		n += 2
	}
	return total
}

// double is the unevaluated sum hi + lo with |lo| ≤ ½ulp(hi): about 106 bits.
// The operations are Dekker's and Knuth's; the conversions forbid the fusing
// of a product with a sum.
type double struct{ hi, lo float64 }

// sum is a + b without error.
func sum(a, b float64) double {
	s := float64(a + b)
	t := float64(s - a)
	return double{s, float64(float64(a-float64(s-t)) + float64(b-t))}
}

func (a double) add(b double) double {
	s, t := sum(a.hi, b.hi), sum(a.lo, b.lo)
	s = sum(s.hi, float64(s.lo+t.hi))
	return sum(s.hi, float64(s.lo+t.lo))
}

func (a double) mul(b double) double {
	p := float64(a.hi * b.hi)
	e := math.FMA(a.hi, b.hi, -p)
	e = float64(e + float64(float64(a.hi*b.lo)+float64(a.lo*b.hi)))
	return sum(p, e)
}

func (a double) div(n float64) double {
	q := float64(a.hi / n)
	rest := float64(math.FMA(-q, n, a.hi) + a.lo)
	return sum(q, float64(rest/n))
}
