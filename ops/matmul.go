package ops

// matmulPush is the push block of the matmul kernels; strides in groups of four.
type matmulPush struct {
	M, N, K          uint32
	LDA4, LDB4, LDC4 uint32
	Accumulate, Bias uint32
	Alpha            float32
}

// MatMul returns a·b: (…, K) times (K, N) is (…, N).
// d a = d y·bᵀ, d b = aᵀ·d y. Sums are f32 whatever the storage type.
func (g *Graph) MatMul(a, b *Tensor) *Tensor { return g.matmulOp("matmul", "nn", a, b) }

// MatMulNT returns a·bᵀ: (…, K) times (N, K) is (…, N). It is the linear layer
// of a weight stored as (outputs, inputs).
// d a = d y·b, d b = d yᵀ·a.
func (g *Graph) MatMulNT(a, b *Tensor) *Tensor { return g.matmulOp("matmul nt", "nt", a, b) }

// MatMulTN returns aᵀ·b: (K, M) times (K, N) is (M, N).
// d a = b·d yᵀ, d b = a·d y.
func (g *Graph) MatMulTN(a, b *Tensor) *Tensor { return g.matmulOp("matmul tn", "tn", a, b) }

func (g *Graph) matmulOp(op, form string, a, b *Tensor) *Tensor {
	if !g.ok(op, a, b) || !g.check(a.dtype.Float() && a.dtype == b.dtype && len(a.shape) >= 2 && len(b.shape) == 2, op,
		"%v by %v: want matrices of one float type", a, b) {
		return g.bad(F32)
	}
	_, n, k, kb := matmulSizes(form, a, b)
	if !g.check(k == kb, op, "%v by %v: inner dimensions %d and %d differ", a, b, k, kb) ||
		!g.check(form != "tn" || len(a.shape) == 2, op, "%v by %v: want two matrices", a, b) {
		return g.bad(a.dtype)
	}
	shape := append(append([]int(nil), a.shape[:len(a.shape)-1]...), n)
	if form == "tn" {
		shape = []int{a.cols(), n}
	}
	y := g.New(a.dtype, shape...)
	g.add(op, g.matmulCall(form, a, b, nil, y, 1, false))
	g.record(op, y, func(dy *Tensor) {
		back := func(x *Tensor, form string, a, b *Tensor) {
			if g.wants(x) {
				dx, add := g.grad(x)
				g.add(op+" backward", g.matmulCall(form, a, b, nil, dx, 1, add))
			}
		}
		switch form {
		case "nn":
			back(a, "nt", dy, b)
			back(b, "tn", a, dy)
		case "nt":
			back(a, "nn", dy, b)
			back(b, "tn", dy, a)
		case "tn":
			back(a, "nt", b, dy)
			back(b, "nn", a, dy)
		}
	}, a, b)
	return y
}

// matmulSizes returns M, N and the inner dimension as either factor has it;
// leading dimensions of a count as rows.
func matmulSizes(form string, a, b *Tensor) (m, n, k, kb int) {
	m, k = a.rows(), a.cols()
	if form == "tn" {
		m, k = k, m
	}
	n, kb = b.cols(), b.rows()
	if form == "nt" {
		n, kb = kb, n
	}
	return m, n, k, kb
}

// matmulCall is c = alpha·(a by b) + bias, or c += that. bias may be nil. c is of
// the type of the others, or f32.
func (g *Graph) matmulCall(form string, a, b, bias, c *Tensor, alpha float32, add bool) Call {
	m, n, k, _ := matmulSizes(form, a, b)
	rows, columns4 := g.tune.tileRows, g.tune.tileColumns4
	kernel := "matmul_" + form + "." + a.dtype.String()
	if c.dtype != a.dtype {
		kernel += "_" + c.dtype.String()
	}
	biased := bias != nil
	if !biased {
		bias = a // never read
	}
	return Call{Kernel: kernel, Threads: ceilDiv(m, rows) * ceilDiv(n, 4*columns4), Local: g.tune.matmulLocal,
		Spec: map[uint32]uint32{10: uint32(rows), 11: uint32(columns4)}, Push: matmulPush{
			uint32(m), uint32(n), uint32(k), uint32(a.stride4()), uint32(b.stride4()), uint32(c.stride4()), b2u(add), b2u(biased), alpha}, Args: []*Tensor{a, b, bias, c}}
}
