package ops

import (
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// coopHead is the longest head that attention on cooperative matrices takes: the
// sums of longer ones do not fit into registers.
const coopHead = 128

// coopTeams is TEAMS of lib/attention_coop.glsl.
const coopTeams = 4

// coopDivision is how a workgroup of attention on cooperative matrices divides rows and
// columns: PARTS and SPLIT of lib/attention_coop.glsl.
type coopDivision struct {
	matrix       vk.Matrix
	parts, split int
	subgroup     int // invocations
}

// coopDivide returns the division for a call of kernel attention, attention_dq or
// attention_dkv; ok says whether the device has cooperative matrices and they fit.
func (g *Graph) coopDivide(a *attention, kernel string) (d coopDivision, ok bool) {
	size := a.q.shape[3]
	if a.o.Mask != nil || size > coopHead {
		return d, false
	}
	tiles := g.coopTiles(coopAttention, a.q.dtype)
	if len(tiles) == 0 {
		return d, false
	}
	caps := g.dev.Info().Caps
	d = divideCoop(&caps, tiles[0].matrix, kernel, size, tiles[0].matrix.M < 16 && !g.tune.lanes)
	return d, d.fits(&caps, kernel, size)
}

// divideCoop divides heads of size values. More matrices of columns for each subgroup are
// fewer barriers, but registers and shared memory bound how many workgroups a GPU has at
// work. Registers are few on GPUs whose matrices have but eight rows, Intel's, and a
// matrix takes half as many of each of 64 invocations as of 32.
func divideCoop(c *vk.Caps, m vk.Matrix, kernel string, size int, few bool) coopDivision {
	d := coopDivision{matrix: m, parts: 2, split: 1, subgroup: int(c.SubgroupSize)}
	if few {
		d.parts, d.split = 1, 2
	} else if kernel == "attention_dkv" && size > coopHead/2 && d.subgroup < 64 {
		d.split = 2
	}
	return d
}

func (d coopDivision) rows() int    { return coopTeams * int(d.matrix.M) }
func (d coopDivision) columns() int { return d.split * d.parts * int(d.matrix.N) }
func (d coopDivision) local() int   { return coopTeams * d.split * d.subgroup }

// fits says whether the matrices fill the tiles, and the device has the invocations and
// the memory for heads of size values.
func (d coopDivision) fits(c *vk.Caps, kernel string, size int) bool {
	m, local := d.matrix, d.local()
	return d.columns()%int(m.K) == 0 && max(m.N, m.K)%min(m.N, m.K) == 0 && local >= int(max(m.M, m.N)) &&
		(local%d.rows() == 0 || d.rows()%local == 0) && local <= int(c.MaxInvocations) && d.bytes(kernel, size) <= int(c.SharedMemory)
}

// bytes is the shared memory of a workgroup: of tiles, weights, and numbers of rows or columns.
func (d coopDivision) bytes(kernel string, size int) int {
	m, n, rows, columns := int(d.matrix.M), int(d.matrix.N), d.rows(), d.columns()
	unit := d.split * max(n, int(d.matrix.K))
	line := 16 * (ceilDiv(size, unit)*unit/8 + 1)
	numbers := rows
	if kernel != "attention" {
		numbers = max(rows, columns)
	}
	return line*max(rows, 2*columns) + 8*coopTeams*max(m*(columns/4+2), d.split*m*(n/2+2)) + 4*max(m, n) + 2*4*numbers
}

// spec adds the division to spec.
func (d coopDivision) spec(spec map[uint32]uint32) {
	spec[shaders.SpecMatM], spec[shaders.SpecMatN], spec[shaders.SpecMatK] = d.matrix.M, d.matrix.N, d.matrix.K
	spec[shaders.SpecParts], spec[shaders.SpecSplit] = uint32(d.parts), uint32(d.split)
}
