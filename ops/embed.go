package ops

import "slices"

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
		links := g.New(U32, ids.Len(), 2)
		g.add(op+" backward", Call{Kernel: "embed_links", Threads: ids.Len(), Spec: idSpec(ids),
			Push: struct{ N, V uint32 }{push.N, push.V}, Args: []*Tensor{ids, links}},
			Call{Kernel: "embed_back." + table.dtype.String(), Threads: ids.Len() * table.stride4(), Spec: idSpec(ids), Push: struct {
				embedPush
				Accumulate uint32
			}{push, b2u(add)}, Args: []*Tensor{ids, links, g.status, dy, dst}})
	}, table)
	return y
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
