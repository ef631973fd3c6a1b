package ops

import "slices"

// embedColumns4 is how many groups of a row an invocation of kernel embed_back has at a time.
const embedColumns4 = 4

type embedPush struct{ N, V, Stride4 uint32 }

// Embed returns row ids[n] of table (V, D) for each position n: (…, D) for ids
// of shape (…) and type I32, U32 or U16. Ids outside [0, V) are found on the
// device, see [Step.Wait].
//
//	d table[v] = Σ over n with ids[n] = v of d y[n], in the order of n
func (g *Graph) Embed(table, ids *Tensor) *Tensor {
	const op = "embed"
	if !g.ok(op, table, ids) || !g.check(table.dtype.Float() && len(table.shape) == 2 && isIndex(ids), op,
		"table %v, ids %v: want a float matrix and integers", table, ids) {
		return g.bad(F32)
	}
	v, d := table.shape[0], table.shape[1]
	g.checkIDs(op, ids, v, nil)
	y := g.New(table.dtype, append(slices.Clone(ids.shape), d)...)
	push := embedPush{uint32(ids.Len()), uint32(v), uint32(table.stride4())}
	g.add(op, Call{Kernel: "embed." + table.dtype.String(), Items: ids.Len() * table.stride4(), Spec: idSpec(ids), Push: push,
		Args: []*Tensor{table, ids, g.status, y}})
	g.record(op, y, func(dy *Tensor) {
		dst, add := g.grad(table)
		if !add {
			g.Fill(dst, 0) // rows that no position names
		}
		g.embedBackward(op+" backward", ids, dy, dst, add)
	}, table)
	return y
}

// embedBackward adds the rows of dy to those of dst, a table, that ids name, or
// writes the sums there. A pass over columns of a row follows the whole chain of an id,
// so positions come in parts that loops can go through.
func (g *Graph) embedBackward(op string, ids, dy, dst *Tensor, add bool) {
	n, v, n4 := ids.Len(), dst.shape[0], dst.stride4()
	passes := func(local uint32) int { return ceilDiv(n4, embedColumns4*int(local)) }
	local := g.widen(g.tune.sharers(n4, embedColumns4, g.tune.rowMost), func(local uint32) int { return 3 * passes(local) })
	part := min(n, max(int(g.tune.maxTurns)/passes(local)-2, 1))
	links, first := g.New(U32, part), g.New(U32, v)
	first.wrote() // its values may be any
	for from := 0; from < n; from += part {
		to := min(from+part, n)
		g.add(op, Call{Kernel: "embed_links", Groups: 1, Local: g.tune.scanLocal, Spec: idSpec(ids),
			Push: struct{ From, To, V uint32 }{uint32(from), uint32(to), uint32(v)}, Args: []*Tensor{ids, links, first}},
			Call{Kernel: "embed_back." + dst.dtype.String(), Groups: to - from, Local: local, Spec: idSpec(ids),
				Push: struct{ From, To, V, Stride4, Accumulate uint32 }{uint32(from), uint32(to), uint32(v), uint32(n4), b2u(add || from > 0)},
				Args: []*Tensor{ids, links, first, g.status, dy, dst}})
	}
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
