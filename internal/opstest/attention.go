package opstest

import "math"

// AttentionShape is the shape of causal multi-head attention: Heads query heads read KVHeads heads of keys and values, Size
// values each, in groups of Heads/KVHeads neighbors.
type AttentionShape struct{ Batch, Positions, Heads, KVHeads, Size int }

// Queries returns how many values q has, Keys how many k and v each have.
func (s AttentionShape) Queries() int { return s.Batch * s.Positions * s.Heads * s.Size }

// Keys returns how many values k and v each have.
func (s AttentionShape) Keys() int { return s.Batch * s.Positions * s.KVHeads * s.Size }

// AttentionRule is how attention differs from plain causal one.
type AttentionRule struct {
	Window  int       // of keys that a query sees; 0: all up to its own
	SoftCap float64   // c: logits s become c tanh(s/c); 0: they stay
	Mask    []float64 // (Batch, Heads, Positions, Positions), added to the logits in place of causality; nil: none
}

// q returns where row (b, t, h) of q and of the result starts, kv where the row that head h reads of (b, j) does.
func (s AttentionShape) q(b, t, h int) int { return ((b*s.Positions+t)*s.Heads + h) * s.Size }

func (s AttentionShape) kv(b, j, h int) int {
	return ((b*s.Positions+j)*s.KVHeads + h*s.KVHeads/s.Heads) * s.Size
}

// weights returns the softmax over the keys j that a query sees of q[b, t, h].k[b, j]/sqrt(Size), and the slopes of the soft
// cap. A query that sees none has weights of 0.
func (s AttentionShape) weights(q, k []float64, r AttentionRule, b, t, h int) (p, slopes []float64) {
	p, slopes = make([]float64, s.Positions), make([]float64, s.Positions)
	top := math.Inf(-1)
	for j := range p {
		for i := range s.Size {
			p[j] += q[s.q(b, t, h)+i] * k[s.kv(b, j, h)+i]
		}
		p[j] /= math.Sqrt(float64(s.Size))
		slopes[j] = 1
		if r.SoftCap > 0 {
			c := math.Tanh(p[j] / r.SoftCap)
			p[j], slopes[j] = r.SoftCap*c, 1-c*c
		}
		switch {
		case r.Mask != nil:
			p[j] += r.Mask[((b*s.Heads+h)*s.Positions+t)*s.Positions+j]
		case j > t || r.Window > 0 && j <= t-r.Window:
			p[j] = math.Inf(-1)
		}
		top = math.Max(top, p[j])
	}
	sum := 0.0
	for j := range p {
		if p[j] = math.Exp(p[j] - top); math.IsInf(top, -1) {
			p[j] = 0
		}
		sum += p[j]
	}
	for j := range p {
		if sum > 0 {
			p[j] /= sum
		}
	}
	return p, slopes
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
	return AttentionBy64(q, k, v, s, AttentionRule{})
}

// AttentionBy64 is Attention64 by a rule.
func AttentionBy64[F Float](q, k, v []F, s AttentionShape, r AttentionRule) []float64 {
	q64, k64, v64, y := F64(q), F64(k), F64(v), make([]float64, len(q))
	s.each(func(b, t, h int) {
		weights, _ := s.weights(q64, k64, r, b, t, h)
		for j, p := range weights {
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
	return AttentionBackwardBy64(q, k, v, dy, s, AttentionRule{})
}

// AttentionBackwardBy64 is AttentionBackward64 by a rule.
func AttentionBackwardBy64[F Float](q, k, v, dy []F, s AttentionShape, r AttentionRule) (dq, dk, dv []float64) {
	q64, k64, v64, dy64 := F64(q), F64(k), F64(v), F64(dy)
	dq, dk, dv = make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
	s.each(func(b, t, h int) {
		p, slopes := s.weights(q64, k64, r, b, t, h)
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
			ds := p[j] * (dp[j] - mean) * slopes[j] / math.Sqrt(float64(s.Size))
			for i := range s.Size {
				dq[row+i] += ds * k64[s.kv(b, j, h)+i]
				dk[s.kv(b, j, h)+i] += ds * q64[row+i]
			}
		}
	})
	return dq, dk, dv
}
