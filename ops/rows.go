package ops

import (
	"maps"

	"github.com/lemnos-ml/lemnos/shaders"
)

// sharers returns how many invocations, at most so many, share a row of n4 groups
// of four: as few as take keep4 each, as joining what few have found takes few
// barriers or none, and those that run in lockstep with them anyway.
func (t *tuning) sharers(n4, keep4 int, most uint32) uint32 {
	n := t.rowLocal
	for int(n)*keep4 < n4 && n < most {
		n *= 2
	}
	return min(n, most)
}

// rowTurns is how many turns the loops of an invocation make, at most, for a row of n4
// groups that local share: they go over it three times at most.
func rowTurns(n4 int, local uint32) int { return 8 + 3*ceilDiv(n4, int(local)) }

// rowLocal returns how many invocations share a row of n4 groups in kernels with a
// workgroup for each row.
func (g *Graph) rowLocal(n4 int) uint32 {
	return g.widen(g.tune.sharers(n4, g.tune.rowKeep4, g.tune.rowMost), func(local uint32) int { return rowTurns(n4, local) })
}

// rowGroups returns how a kernel with a workgroup for each of so many rows of n4 groups
// goes through them: in how many workgroups, which stride if they are fewer, and how
// many invocations share a row.
func (g *Graph) rowGroups(rows, n4 int) (groups int, local uint32) {
	local = g.rowLocal(n4)
	return g.tune.strides(rows, rowTurns(n4, local)), local
}

// strides returns how many workgroups take so many rows, of so many turns each.
func (t *tuning) strides(rows, turns int) int {
	return min(rows, max(t.maxRows, ceilDiv(rows*turns, int(t.maxTurns))))
}

// widen returns the size of a workgroup, local or as much larger as it takes for loops to
// make no more turns than an invocation can.
func (g *Graph) widen(local uint32, turns func(local uint32) int) uint32 {
	for 2*local <= g.dev.Info().Caps.MaxInvocations && turns(local) > int(g.tune.maxTurns) {
		local *= 2
	}
	return local
}

// scanLocal returns the size of the one workgroup that goes through a list of so many.
func (g *Graph) scanLocal(items int) uint32 {
	return g.widen(g.tune.scanLocal, func(local uint32) int { return ceilDiv(items, int(local)) + 1 })
}

// rowBlocks is how a kernel that includes lib/rows.glsl goes through the rows of
// a tensor: blocks of per neighbouring rows, a workgroup each.
type rowBlocks struct {
	local       uint32
	blocks, per int
	variant     string // of the kernel, behind its type
	spec        map[uint32]uint32
}

// tile4 is how many groups of a row too long for registers an invocation has at a time, at most.
const tile4 = 8

// rowsPerBlock is how many rows a workgroup takes at least, if there are as many, where
// sums over rows leave one partial result per block: those must stay few.
const rowsPerBlock = 8

// rowBlocks divides x, at least so many rows to a block, for a kernel of which an
// invocation may hold keep4 groups of a row.
func (g *Graph) rowBlocks(x *Tensor, keep4, least int) rowBlocks {
	n4, rows := x.stride4(), x.rows()
	b := rowBlocks{local: g.widen(g.tune.sharers(n4, keep4, g.tune.rowMost), func(local uint32) int { return rowTurns(n4, local) })}
	b.spec = map[uint32]uint32{shaders.SpecPadded: b2u(x.cols()%4 != 0)}
	switch keep := ceilDiv(n4, int(b.local)); {
	case keep4 == 0:
		b.variant = "_long"
	case keep <= keep4: // registers hold the whole row
		b.spec[shaders.SpecKeep4], b.spec[shaders.SpecWhole], b.spec[shaders.SpecFull] = uint32(keep), 1, b2u(keep*int(b.local) == n4)
	default:
		b.spec[shaders.SpecKeep4] = uint32(min(keep4, tile4))
	}
	most := g.tune.workers * int(g.tune.local) / int(b.local) // the same number of invocations, however short the rows
	b.per = max(ceilDiv(rows, max(most, 1)), min(rows, least))
	b.per = min(b.per, max(int(g.tune.maxTurns)/rowTurns(n4, b.local), 1))
	b.blocks = ceilDiv(rows, b.per)
	return b
}

// rowsPush is the push block of such a kernel.
type rowsPush struct {
	N, D, Stride4, Per uint32
	Eps                float32
}

// call is a kernel over the rows of x; spec joins the constants of lib/rows.glsl.
func (b rowBlocks) call(kernel string, x *Tensor, eps float64, spec map[uint32]uint32, args ...*Tensor) Call {
	all := maps.Clone(b.spec)
	maps.Copy(all, spec)
	return Call{Kernel: kernel + "." + x.dtype.String() + b.variant, Groups: b.blocks, Local: b.local, Spec: all, Args: args,
		Push: rowsPush{uint32(x.rows()), uint32(x.cols()), uint32(x.stride4()), uint32(b.per), float32(eps)}}
}
