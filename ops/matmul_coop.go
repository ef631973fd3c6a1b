package ops

import (
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// coopLocal is the number of invocations per workgroup of kernel matmul_coop.
const coopLocal = 256

// coopStep is STEP of matmul_coop.comp.
const coopStep = 32

// coopShape returns the cooperative matrices that products of a type use, those of
// the most arithmetic that fit kernel matmul_coop; M is 0 where there are none.
func coopShape(c *vk.Caps, dt DType) (best vk.Matrix) {
	for _, m := range c.Matrices {
		if m.BF16 != (dt == BF16) || m.M%8 != 0 || m.N%8 != 0 || m.K%8 != 0 || coopStep%m.K != 0 {
			continue
		}
		if m.M*m.N*m.K > best.M*best.N*best.K && coopTile(c, m, 64).fits(c) {
			best = m
		}
	}
	return best
}

// coopTiles returns the tiles of kernel matmul_coop on a device, the largest first, for each type that it has cooperative matrices of.
func coopTiles(c *vk.Caps) map[DType][]coopTiling {
	all := map[DType][]coopTiling{}
	for _, dt := range []DType{F16, BF16} {
		m := coopShape(c, dt)
		for _, edge := range []uint32{128, 64} {
			if t := coopTile(c, m, edge); m.M > 0 && t.fits(c) {
				all[dt] = append(all[dt], t)
			}
		}
	}
	return all
}

// coopTiling divides a tile of a product, of edge rows and columns, among subgroups.
type coopTiling struct {
	matrix        vk.Matrix
	grid          [2]uint32 // subgroups down and across
	rows, columns uint32    // matrices of each
	edge          uint32
}

// coopTile makes the parts of all subgroups as near to squares as there are.
func coopTile(c *vk.Caps, m vk.Matrix, edge uint32) coopTiling {
	t := coopTiling{matrix: m, grid: [2]uint32{1, 1}, edge: edge}
	for n := coopLocal / max(c.SubgroupSize, 1); n > 1; n /= 2 {
		if t.grid[1] > t.grid[0] {
			t.grid[0] *= 2
		} else {
			t.grid[1] *= 2
		}
	}
	t.rows, t.columns = edge/t.grid[0]/max(m.M, 1), edge/t.grid[1]/max(m.N, 1)
	return t
}

// fits says whether the matrices fill the tile, and the device has the invocations and the memory for it.
func (t coopTiling) fits(c *vk.Caps) bool {
	// Two buffers of a part of A and one of B each; a line of them ends in a group of eight values.
	lines := max(coopStep*(t.edge/8+1), t.edge*(coopStep/8+1))
	return t.rows*t.grid[0]*t.matrix.M == t.edge && t.columns*t.grid[1]*t.matrix.N == t.edge &&
		t.grid[0]*t.grid[1]*c.SubgroupSize == coopLocal && c.MaxInvocations >= coopLocal && c.SharedMemory >= 2*2*16*lines
}

// coopPlan is matmulPlan with cooperative matrices of a shape.
func (t *tuning) coopPlan(form string, m, n, k, batch int, tiles []coopTiling) matmulPlan {
	tile := tiles[0]
	if !t.enoughTiles(int(tile.edge), m, n, k, batch) {
		tile = tiles[len(tiles)-1]
	}
	groups := ceilDiv(m, int(tile.edge)) * ceilDiv(n, int(tile.edge))
	return matmulPlan{kernel: "matmul_coop", tile: &tile, groups: groups, local: coopLocal, part: ceilDiv(t.matmulPart(groups*batch, k), coopStep) * coopStep, spec: map[uint32]uint32{
		shaders.SpecMatM: tile.matrix.M, shaders.SpecMatN: tile.matrix.N, shaders.SpecMatK: tile.matrix.K,
		shaders.SpecGridRows: tile.grid[0], shaders.SpecGridColumns: tile.grid[1], shaders.SpecRows: tile.rows, shaders.SpecColumns: tile.columns,
		shaders.SpecAByK: b2u(form == "tn"), shaders.SpecBByK: b2u(form != "nt")}}
}
