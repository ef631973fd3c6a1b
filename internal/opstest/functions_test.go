package opstest

import "testing"

func TestFunctionSlopesAgainstFiniteDifferences(t *testing.T) {
	for _, f := range Functions {
		x := F64(Uniform(95, 200, 7))
		if f.Name == "log" {
			for i := range x {
				x[i] = x[i]*x[i] + 0.1
			}
		}
		want := make([]float64, len(x))
		for i := range x {
			want[i] = FiniteDifferences(func(x []float64) float64 { return f.F(x[0]) }, x[i:i+1], 1e-4)[0]
		}
		if e := RelL2(Apply(f.Slope, x), want); e > 1e-6 {
			t.Errorf("%s: slope differs from finite differences by %g", f.Name, e)
		}
	}
}

func TestBinaryGradientsAgainstFiniteDifferences(t *testing.T) {
	as, bs, shape := []int{2, 1, 3}, []int{4, 1}, []int{2, 4, 3}
	a, b, dy := F64(Uniform(96, 6, 2)), F64(Uniform(97, 4, 1)), F64(Uniform(98, 24, 1))
	for i := range b {
		b[i] += 3
	}
	for _, o := range Binaries {
		loss := func(a, b []float64) (sum float64) {
			for i, e := range o.Apply(a, b, as, bs, shape) {
				sum += e * dy[i]
			}
			return sum
		}
		da, db := o.Backward(a, b, dy, as, bs, shape)
		Close(t, da, FiniteDifferences(func(a []float64) float64 { return loss(a, b) }, a, 1e-4), 1e-7)
		Close(t, db, FiniteDifferences(func(b []float64) float64 { return loss(a, b) }, b, 1e-4), 1e-7)
	}
}

// By hand: a row and a column.
func TestBroadcastByHand(t *testing.T) {
	y := Binaries[1].Apply([]float64{1, 2, 3}, []float64{10, 20}, []int{3}, []int{2, 1}, []int{2, 3})
	Close(t, y, []float64{-9, -8, -7, -19, -18, -17}, 0)
}
