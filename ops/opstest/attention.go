package opstest

import "math"

// AttentionShape is the shape of causal multi-head attention: Heads query heads read KVHeads heads of keys and values, Size
// values each, in groups of Heads/KVHeads neighbors.
type AttentionShape struct{ Batch, Positions, Heads, KVHeads, Size int }

// Queries returns how many values q has, Keys how many k and v each have.
func (s AttentionShape) Queries() int { return s.Batch * s.Positions * s.Heads * s.Size }

// Keys returns how many values k and v each have.
func (s AttentionShape) Keys() int { return s.Batch * s.Positions * s.KVHeads * s.Size }

// q returns where row (b, t, h) of q and of the result starts, kv where the row that head h reads of (b, j) does.
func (s AttentionShape) q(b, t, h int) int { return ((b*s.Positions+t)*s.Heads + h) * s.Size }

func (s AttentionShape) kv(b, j, h int) int {
	return ((b*s.Positions+j)*s.KVHeads + h*s.KVHeads/s.Heads) * s.Size
}

// weights returns the softmax over the keys j <= t of q[b, t, h].k[b, j]/sqrt(Size).
func (s AttentionShape) weights(q, k []float64, b, t, h int) []float64 {
	p := make([]float64, t+1)
	top := math.Inf(-1)
	for j := range p {
		for i := range s.Size {
			p[j] += q[s.q(b, t, h)+i] * k[s.kv(b, j, h)+i]
		}
		p[j] /= math.Sqrt(float64(s.Size))
		top = math.Max(top, p[j])
	}
	sum := 0.0
	for j := range p {
		p[j] = math.Exp(p[j] - top)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p
}

// each calls f for every batch, position and head.
func (s AttentionShape) each(f func(b, t, h int)) {
	for b := range s.Batch {
		for t := range s.Positions {
			for h := range s.Heads {
				f(b, t, h)
			}
		}
	}
}

// Attention64 is the reference of causal attention: q (B, T, H, S), k and v (B, T, K, S) to (B, T, H, S).
func Attention64[F Float](q, k, v []F, s AttentionShape) []float64 {
	q64, k64, v64, y := F64(q), F64(k), F64(v), make([]float64, len(q))
	s.each(func(b, t, h int) {
		for j, p := range s.weights(q64, k64, b, t, h) {
			for i := range s.Size {
				y[s.q(b, t, h)+i] += p * v64[s.kv(b, j, h)+i]
			}
		}
	})
	return y
}

// AttentionBackward64 returns the gradients of a loss with respect to q, k and v, given its gradient dy with respect to the
// result.
func AttentionBackward64[F Float](q, k, v, dy []F, s AttentionShape) (dq, dk, dv []float64) {
	q64, k64, v64, dy64 := F64(q), F64(k), F64(v), F64(dy)
	dq, dk, dv = make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
	s.each(func(b, t, h int) {
		p := s.weights(q64, k64, b, t, h)
		row := s.q(b, t, h)
		dp, mean := make([]float64, len(p)), 0.0
		for j := range p {
			for i := range s.Size {
				dp[j] += dy64[row+i] * v64[s.kv(b, j, h)+i]
				dv[s.kv(b, j, h)+i] += p[j] * dy64[row+i]
			}
			mean += p[j] * dp[j]
		}
		for j := range p {
			ds := p[j] * (dp[j] - mean) / math.Sqrt(float64(s.Size))
			for i := range s.Size {
				dq[row+i] += ds * k64[s.kv(b, j, h)+i]
				dk[s.kv(b, j, h)+i] += ds * q64[row+i]
			}
		}
	})
	return dq, dk, dv
}
