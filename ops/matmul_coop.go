package ops

import (
	"math"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// coopLocal is the number of invocations per workgroup of kernel matmul_coop where nothing was tuned. An H200 does 1.27 times the
// 4096³ of 256 invocations with 128: each subgroup has 64 by 64 sums, which take half of the 255 registers that an invocation
// has at most. GPUs of others have fewer, or other subgroups.
func coopLocal(c *vk.Caps, m vk.Matrix) uint32 {
	if c.SubgroupSize == 32 && m.M == 16 && m.N == 16 {
		return 128
	}
	return 256
}

// coopStep is STEP of matmul_coop.comp where nothing was tuned.
const coopStep = 32

// coopShape returns the cooperative matrices that products of a type use, those of
// the most arithmetic that fit kernel matmul_coop; M is 0 where there are none.
func coopShape(c *vk.Caps, dt DType) (best vk.Matrix) {
	for _, m := range c.Matrices {
		if m.BF16 != (dt == BF16) || m.M%8 != 0 || m.N%8 != 0 || m.K%8 != 0 {
			continue
		}
		if m.M*m.N*m.K > best.M*best.N*best.K && coopTile(c, m, 64, 64, coopLocal(c, m), coopStep).fits(c) {
			best = m
		}
	}
	return best
}

// coopTiles returns the tiles of kernel matmul_coop on a device, the largest first, for each type that it has cooperative matrices of.
// A processor has small ones alone, as its driver compiles the others for a minute, and so have GPUs with few registers.
func coopTiles(i *vk.Info) map[DType][]coopTiling {
	c, edges := &i.Caps, []uint32{128, 64}
	if i.Kind == vk.CPU || fewRegisters(i) {
		edges = edges[1:]
	}
	all := map[DType][]coopTiling{}
	for _, dt := range []DType{F16, BF16} {
		m := coopShape(c, dt)
		for _, edge := range edges {
			if t := coopTile(c, m, edge, edge, coopLocal(c, m), coopStep); m.M > 0 && t.fits(c) {
				all[dt] = append(all[dt], t)
			}
		}
	}
	return all
}

// coopTiling is a tile of C: how it is divided among the subgroups of a workgroup.
type coopTiling struct {
	matrix        vk.Matrix
	subgroup      uint32    // invocations
	grid          [2]uint32 // subgroups down and across
	rows, columns uint32    // matrices of each
	step          uint32    // values of k that go through shared memory at a time
	split         bool      // factors are f32, cut into
	pieces        uint32    // so many values of 16 bits each
}

// coopTile divides a tile of m by n values among local invocations, the parts of all subgroups as near to squares as there are.
func coopTile(c *vk.Caps, matrix vk.Matrix, m, n, local, step uint32) coopTiling {
	t := coopTiling{matrix: matrix, subgroup: max(c.SubgroupSize, 1), grid: [2]uint32{1, 1}, step: step, pieces: 1}
	for count := local / t.subgroup; count > 1; count /= 2 {
		if m/t.grid[0] > n/t.grid[1] {
			t.grid[0] *= 2
		} else {
			t.grid[1] *= 2
		}
	}
	t.rows, t.columns = m/t.grid[0]/max(matrix.M, 1), n/t.grid[1]/max(matrix.N, 1)
	if t.m() != m || t.n() != n || t.local() != local {
		return coopTiling{} // it cannot be divided so
	}
	return t
}

func (t coopTiling) m() uint32     { return t.rows * t.grid[0] * t.matrix.M }
func (t coopTiling) n() uint32     { return t.columns * t.grid[1] * t.matrix.N }
func (t coopTiling) local() uint32 { return t.grid[0] * t.grid[1] * t.subgroup }

// fits says whether there is such a tile, and the device has the invocations and the memory for it.
func (t coopTiling) fits(c *vk.Caps) bool {
	if t.m() == 0 || t.step%t.matrix.K != 0 || t.local() > c.MaxInvocations {
		return false
	}
	// A part of A and one of B, by rows or by columns, whose lines end in a group of eight values; later a row of matrices of
	// sums for each subgroup.
	lines := func(edge uint32) uint32 { return max(t.step*(edge/8+1), edge*(t.step/8+1)) }
	inputs, outputs := t.pieces*(lines(t.m())+lines(t.n())), t.grid[0]*t.grid[1]*t.matrix.M*(t.columns*t.matrix.N/4+1)
	return 16*max(inputs, outputs) <= c.SharedMemory
}

// coopStart is what a workgroup takes to begin and to store its tile, in steps of coopStep values of k.
const coopStart = 8

// pace is how many workgroups a core is taken to run at a time, and what they take for coopStep values of k, in units of 100 ns:
// measured on an H200 for the large tile; a core does about half as much in the same time with small ones.
func (t coopTiling) pace() (resident, work int) {
	if t.m()*t.n() >= 128*128 {
		return 2, 9
	}
	return 4, 8
}

// coopPlan is matmulPlan with cooperative matrices: the tiles and parts of k that are soonest ready. There are parts only where a core
// would wait for work without, as a product in parts cannot do more in its store: see fuse.go. What was tuned takes the
// place of the largest tile. It does not change how k is cut, and so no bit of a sum.
func (t *tuning) coopPlan(form string, m, n, k, batch int, tiles []coopTiling) matmulPlan {
	count := func(tile coopTiling) int { return ceilDiv(m, int(tile.m())) * ceilDiv(n, int(tile.n())) }
	tile, part, least := tiles[0], 0, math.MaxInt
	for _, x := range tiles {
		resident, step := x.pace()
		atATime := resident * max(t.cores, 1)
		for _, c := range t.cuts(count(x)*batch, m*n*batch, k, coopStep, atATime) {
			work := ceilDiv(c.groups, atATime)*(c.part/coopStep+coopStart)*step + c.join
			if work < least {
				tile, part, least = x, c.part, work
			}
		}
	}
	if best, ok := t.tuned[tunedProduct{tile.matrix.BF16, form}]; ok && !tile.split && tile == tiles[0] {
		tile = best
	}
	plan := matmulPlan{kernel: "matmul_coop", groups: count(tile), local: tile.local(), part: part, spec: map[uint32]uint32{
		shaders.SpecMatM: tile.matrix.M, shaders.SpecMatN: tile.matrix.N, shaders.SpecMatK: tile.matrix.K,
		shaders.SpecGridRows: tile.grid[0], shaders.SpecGridColumns: tile.grid[1], shaders.SpecRows: tile.rows, shaders.SpecColumns: tile.columns,
		shaders.SpecStep: tile.step, shaders.SpecWholeSteps: b2u(uint32(k)%tile.step == 0 && uint32(part)%tile.step == 0),
		shaders.SpecAByK: b2u(form == "tn"), shaders.SpecBByK: b2u(form != "nt")}}
	if tile.split {
		plan.variant, plan.spec[shaders.SpecPieces] = splitVariant(tile.matrix), tile.pieces
	}
	return plan
}
