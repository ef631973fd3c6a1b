package opstest

import "math"

// RoPE64 is the reference of rotary position embedding of x (B, T, H, S): the pairs of a row at position start + t turn
// by (start + t) theta^(-2i/S), times sign; -1 turns back. Pairs are (2i, 2i+1), or (i, i+S/2) with halfSplit.
func RoPE64[F Float](x []F, t, h, s, start int, theta float64, halfSplit bool, sign float64) []float64 {
	y := make([]float64, len(x))
	for row := 0; row < len(x)/s; row++ {
		position := start + row/h%t
		for i := range s / 2 {
			a, b := row*s+2*i, row*s+2*i+1
			if halfSplit {
				a, b = row*s+i, row*s+i+s/2
			}
			sin, cos := math.Sincos(sign * float64(position) * math.Pow(theta, -2*float64(i)/float64(s)))
			y[a] = float64(x[a])*cos - float64(x[b])*sin
			y[b] = float64(x[a])*sin + float64(x[b])*cos
		}
	}
	return y
}
