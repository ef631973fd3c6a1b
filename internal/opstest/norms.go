package opstest

import "math"

// RMSNorm64 is the reference of y[n, d] = x[n, d] w[d] / sqrt(mean of row n of x^2 + eps), for x (N, D) and w (D).
func RMSNorm64[F Float](x, w []F, eps float64) []float64 {
	d := len(w)
	y := make([]float64, len(x))
	for n := 0; n < len(x); n += d {
		s := inverseRoot(F64(x[n:n+d]), eps)
		for j := range d {
			y[n+j] = float64(x[n+j]) * s * float64(w[j])
		}
	}
	return y
}

// RMSNormBackward64 returns the gradients with respect to x and w, given dy (N, D).
func RMSNormBackward64[F Float](x, w, dy []F, eps float64) (dx, dw []float64) {
	d := len(w)
	dx, dw = make([]float64, len(x)), make([]float64, d)
	for n := 0; n < len(x); n += d {
		s := inverseRoot(F64(x[n:n+d]), eps)
		mean := 0.0 // of dL/d(x s) times x s
		for j := range d {
			mean += float64(dy[n+j]) * float64(w[j]) * float64(x[n+j]) * s / float64(d)
		}
		for j := range d {
			normed := float64(x[n+j]) * s
			dx[n+j] = s * (float64(dy[n+j])*float64(w[j]) - normed*mean)
			dw[j] += float64(dy[n+j]) * normed
		}
	}
	return dx, dw
}

// LayerNorm64 is the reference of y[n, d] = (x[n, d] - mean) w[d] / sqrt(variance + eps) + b[d], mean and variance those of row
// n of x (N, D), w and b (D). A nil b is zeros.
func LayerNorm64[F Float](x, w, b []F, eps float64) []float64 {
	d := len(w)
	y := RMSNorm64(centered(x, d), F64(w), eps)
	for i := range y {
		if b != nil {
			y[i] += float64(b[i%d])
		}
	}
	return y
}

// LayerNormBackward64 returns the gradients with respect to x, w and b, given dy (N, D).
func LayerNormBackward64[F Float](x, w, dy []F, eps float64) (dx, dw, db []float64) {
	d := len(w)
	dx, dw = RMSNormBackward64(centered(x, d), F64(w), F64(dy), eps)
	db = make([]float64, d)
	for i, e := range dy {
		db[i%d] += float64(e)
	}
	return centered(dx, d), dw, db // taking the mean away is its own transpose
}

// inverseRoot returns 1/sqrt(mean of x^2 + eps).
func inverseRoot(x []float64, eps float64) float64 {
	sum := 0.0
	for _, e := range x {
		sum += e * e
	}
	return 1 / math.Sqrt(sum/float64(len(x))+eps)
}

// centered returns x (N, d) with the mean of each row taken away.
func centered[F Float](x []F, d int) []float64 {
	y := F64(x)
	for n := 0; n < len(y); n += d {
		mean := 0.0
		for _, e := range y[n : n+d] {
			mean += e / float64(d)
		}
		for j := range d {
			y[n+j] -= mean
		}
	}
	return y
}
