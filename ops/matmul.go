package ops

import "slices"

// MatMul returns a·b: (…, K) times (K, N) is (…, N), and of two batches of
// matrices (…, M, K) times (…, K, N) is (…, M, N).
// d a = d y·bᵀ, d b = aᵀ·d y. Sums are f32 whatever the storage type.
func (g *Graph) MatMul(a, b *Tensor) *Tensor { return g.matmulOp("matmul", "nn", a, b) }

// MatMulNT returns a·bᵀ: (…, K) times (N, K) is (…, N), and of two batches of
// matrices (…, M, K) times (…, N, K) is (…, M, N).
// d a = d y·b, d b = d yᵀ·a.
func (g *Graph) MatMulNT(a, b *Tensor) *Tensor { return g.matmulOp("matmul nt", "nt", a, b) }

// MatMulTN returns aᵀ·b: (K, M) times (K, N) is (M, N), and of two batches of
// matrices (…, K, M) times (…, K, N) is (…, M, N).
// d a = b·d yᵀ, d b = a·d y.
func (g *Graph) MatMulTN(a, b *Tensor) *Tensor { return g.matmulOp("matmul tn", "tn", a, b) }

func (g *Graph) matmulOp(op, form string, a, b *Tensor) *Tensor {
	if !g.ok(op, a, b) || !g.check(a.dtype.Float() && a.dtype == b.dtype && len(a.shape) >= 2 && len(b.shape) >= 2, op,
		"%v by %v: want matrices of one float type", a, b) {
		return g.bad(F32)
	}
	// With one matrix b for all of a's batch, a is one matrix with as many more rows.
	as := (*Tensor).matrix
	lead := a.shape[:len(a.shape)-2]
	if len(b.shape) > 2 || form == "tn" {
		as = func(t *Tensor) *Tensor { return t }
		if !g.check(slices.Equal(lead, b.shape[:len(b.shape)-2]), op, "%v by %v: want two matrices, or as many on both sides", a, b) {
			return g.bad(a.dtype)
		}
	}
	_, n, k, kb := matmulSizes(form, a, b)
	if !g.check(k == kb, op, "%v by %v: inner dimensions %d and %d differ", a, b, k, kb) {
		return g.bad(a.dtype)
	}
	rows := a.shape[len(a.shape)-2]
	if form == "tn" {
		rows = a.cols()
	}
	y := g.New(a.dtype, append(slices.Clone(lead), rows, n)...)
	g.add(op, g.matmulCalls(form, as(a), b, nil, y, 1, false)...)
	g.record(op, y, func(dy *Tensor) {
		back := func(x *Tensor, form string, left, right *Tensor) {
			if g.wants(x) {
				dx, add := g.grad(x)
				g.add(op+" backward", g.matmulCalls(form, left, right, nil, dx, 1, add)...)
			}
		}
		switch form {
		case "nn":
			back(a, "nt", as(dy), b)
			back(b, "tn", as(a), as(dy))
		case "nt":
			back(a, "nn", as(dy), b)
			back(b, "tn", as(dy), as(a))
		case "tn":
			back(a, "nt", b, dy)
			back(b, "nn", a, dy)
		}
	}, a, b)
	return y
}

// matrix is t as one matrix: leading dimensions count as rows.
func (t *Tensor) matrix() *Tensor { return t.view(0, t.rows(), t.cols()) }

// matmulSizes returns M, N and the inner dimension as either factor has it, of
// matrices or batches of them.
func matmulSizes(form string, a, b *Tensor) (m, n, k, kb int) {
	m, k = a.shape[len(a.shape)-2], a.cols()
	if form == "tn" {
		m, k = k, m
	}
	n, kb = b.cols(), b.shape[len(b.shape)-2]
	if form == "nt" {
		n, kb = kb, n
	}
	return m, n, k, kb
}
