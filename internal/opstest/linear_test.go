package opstest

import "testing"

func TestMatMulAgreesWithPyTorch(t *testing.T) {
	for _, c := range MatMulCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			CheckL2(t, "c", MatMul64(c.Kind, c.A(), c.B(), c.M, c.N, c.K), c.C, exact)
		})
	}
}

func TestMatMulGradientAgainstFiniteDifferences(t *testing.T) {
	const m, n, k = 3, 4, 5
	a, b, dc := F64(Uniform(81, m*k, 1)), F64(Uniform(82, k*n, 1)), F64(Uniform(83, m*n, 1))
	for _, kind := range []string{"nn", "nt", "tn"} {
		loss := func(a, b []float64) (sum float64) {
			for i, e := range MatMul64(kind, a, b, m, n, k) {
				sum += e * dc[i]
			}
			return sum
		}
		da, db := MatMulBackward64(kind, a, b, dc, m, n, k)
		Close(t, da, FiniteDifferences(func(a []float64) float64 { return loss(a, b) }, a, 0.5), exact)
		Close(t, db, FiniteDifferences(func(b []float64) float64 { return loss(a, b) }, b, 0.5), exact)
	}
}

func TestLinearGradientAgainstFiniteDifferences(t *testing.T) {
	const n, in, out = 3, 5, 4
	x, w, b, dy := F64(Uniform(88, n*in, 1)), F64(Uniform(89, out*in, 1)), F64(Uniform(90, out, 1)), F64(Uniform(91, n*out, 1))
	loss := func(x, w, b []float64) (sum float64) {
		for i, e := range Linear64(x, w, b, in) {
			sum += e * dy[i]
		}
		return sum
	}
	dx, dw, db := LinearBackward64(x, w, dy, in)
	Close(t, dx, FiniteDifferences(func(x []float64) float64 { return loss(x, w, b) }, x, 0.5), exact)
	Close(t, dw, FiniteDifferences(func(w []float64) float64 { return loss(x, w, b) }, w, 0.5), exact)
	Close(t, db, FiniteDifferences(func(b []float64) float64 { return loss(x, w, b) }, b, 0.5), exact)
}

func TestLinearCrossEntropyAgreesWithPyTorch(t *testing.T) {
	for _, c := range LinearCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			r := LinearCrossEntropy64(c.Hidden(), c.Weight(), c.Targets(), c.D, c.V, c.Options)
			if e := RelErr(r.Loss, c.Loss); e > exact {
				t.Errorf("loss %v, want %v (relative error %g)", r.Loss, c.Loss, e)
			}
			CheckEach(t, "rows", r.Rows, c.Rows, exact)
			CheckL2(t, "d hidden", r.DHidden, c.DHidden, exact)
			CheckL2(t, "d weight", r.DWeight, c.DWeight, exact)
		})
	}
}

func TestLinearCrossEntropyGradientAgainstFiniteDifferences(t *testing.T) {
	const n, d, v = 4, 3, 6
	ignore := int32(2)
	h, w, targets := F64(Uniform(84, n*d, 2)), F64(Uniform(85, v*d, 2)), []int32{5, 2, 0, 1}
	o := CrossEntropyOptions{Ignore: &ignore, Smoothing: 0.1, ZLoss: 0.05, Scale: 4}
	loss := func(h, w []float64) float64 { return o.Scale * LinearCrossEntropy64(h, w, targets, d, v, o).Loss }
	r := LinearCrossEntropy64(h, w, targets, d, v, o)
	Close(t, r.DHidden, FiniteDifferences(func(h []float64) float64 { return loss(h, w) }, h, 1e-4), 1e-7)
	Close(t, r.DWeight, FiniteDifferences(func(w []float64) float64 { return loss(h, w) }, w, 1e-4), 1e-7)
}

func TestEmbeddingAgreesWithPyTorch(t *testing.T) {
	for _, c := range EmbeddingCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			CheckL2(t, "d table", EmbedBackward64(c.DY(), c.IDs(), c.V, c.D), c.DE, exact)
		})
	}
}

func TestEmbeddingGradientAgainstFiniteDifferences(t *testing.T) {
	const v, d = 5, 3
	ids := []int32{4, 0, 4, 4, 1, 0}
	table, dy := F64(Uniform(86, v*d, 1)), F64(Uniform(87, len(ids)*d, 1))
	Close(t, Embed64(table, ids, d)[:2*d], append(table[4*d:5*d:5*d], table[:d]...), 0)
	loss := func(table []float64) (sum float64) {
		for i, e := range Embed64(table, ids, d) {
			sum += e * dy[i]
		}
		return sum
	}
	Close(t, EmbedBackward64(dy, ids, v, d), FiniteDifferences(loss, table, 0.5), exact)
}
