package ops

import (
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// tuning is what kernels are specialized with on a kind of device. Every
// choice gives the same values up to the order of f32 sums. A group is four
// neighboring values of a row, what kernels load and store at a time.
type tuning struct {
	// Kernels that handle each value by itself, and the limits of all.
	local      uint32 // invocations per workgroup, in kernels that share a row the most of them
	work       uint32 // groups that an invocation takes at a time: WORK of lib/index.glsl
	largeWork  uint32 // the same in tensors so large that every core has work even so
	maxGroups  int    // workgroups, beyond which they stride
	wide       bool   // variants _wide: they read texel buffers and write words of 64 bits
	maxTurns   uint32 // passes through all loops of an invocation: lavapipe ends loops silently after 65535
	subgroup   uint32 // invocations that run in lockstep, 1 where kernels can't count on it
	arithmetic bool   // reductions use subgroup arithmetic, not shared memory alone

	oneSubgroup uint32 // a workgroup of so many invocations is one subgroup; 0: none is known to be

	// Kernels that go through rows, lists, or chunks of a parameter arena.
	maxRows           int    // workgroups of kernels with one for each row, beyond which they stride
	ownRows           int    // from so many rows on, cross-entropy gives each invocation a row instead of sharing each among a workgroup
	crossEntropyKeep4 int    // groups that an invocation of cross-entropy may hold, so that a row which fits is read once
	normKeep4         int    // the same for norms
	scanLocal         uint32 // invocations of a workgroup that goes through a whole list alone
	workers           int    // workgroups that stride over chunks
	chunk4            int    // groups per chunk

	// Matrix products: the kernel is matmul_shared, else matmul_lanes, else matmul_nn, nt or tn.
	sharedTiles            bool   // matmul_shared
	sharedBlocks           int    // its largest tile, in blocks of 64 rows and of 64 columns
	laneTiles              bool   // matmul_lanes
	matmulLocal            uint32 // invocations per workgroup of matmul_nn, nt and tn
	tileRows, tileColumns4 int    // of the product, for each invocation of these and of matmul_lanes
	fewLocal               uint32 // invocations per workgroup of matmul_few
	matmulGroups           int    // workgroups that keep the device busy: with fewer, the sum over k is cut into parts

	lanes bool // attention is the attention_lanes kernels, where lanes shuffle rows, not those that share them in memory
}

func tune(i vk.Info) tuning {
	c := i.Caps
	t := tuning{local: 256, work: 4, largeWork: 4, maxGroups: 1 << 30, workers: 1024, chunk4: 4096,
		ownRows: 1 << 32, maxRows: 1 << 16, normKeep4: 8, scanLocal: 256, subgroup: 1, maxTurns: 65000,
		sharedTiles: c.MaxInvocations >= sharedLocal, sharedBlocks: 2, matmulLocal: 64, tileRows: 4, tileColumns4: 2, fewLocal: 64, matmulGroups: 256}
	if t.arithmetic = c.SubgroupArithmetic; t.arithmetic {
		t.subgroup = c.SubgroupSize
		if c.FullSubgroups {
			t.oneSubgroup = c.SubgroupSize
		}
	}
	if c.SharedMemory < sharedTileBytes(t.sharedBlocks) {
		t.sharedBlocks = 1
	}
	if i.Kind == vk.CPU {
		// A workgroup is a loop over subgroups on one core there: one subgroup each,
		// with much to do, spares the loop and every barrier, and goes through memory
		// in one direction. To start an invocation costs SwiftShader, with subgroups
		// of four, as much as to copy ten groups: with 1024 groups for each it copies
		// 1.2 times as fast as with 64. On lavapipe rows that share 256 workgroups
		// instead of having one each cross cross-entropy 1.6 times as fast at 1000
		// logits. Rows of 768 held whole cross a norm three times as fast there as in
		// tiles; SwiftShader runs no loop over registers that is not unrolled before.
		t.local, t.work, t.largeWork, t.normKeep4 = c.SubgroupSize, 64, 1024, 0
		if c.SubgroupSize >= 8 {
			t.work, t.largeWork, t.maxGroups, t.normKeep4 = 16, 16, 4096, 32
			// lavapipe loads and stores for each invocation on its own, 20 cycles for 32
			// bits or for 64, but fetches texels with vector instructions: products became
			// 1.7 times as fast, sums of tensors five times.
			if t.wide = c.Int64 && c.MaxTexels >= c.MaxStorageRange/8; t.wide {
				t.crossEntropyKeep4 = 32
			}
		} else {
			// SwiftShader spends a third of cross-entropy's time on what it does once per
			// row of 1000 logits: four rows at a time.
			t.ownRows = 256
		}
		t.workers, t.maxRows, t.scanLocal = 256, 256, 64
		t.sharedTiles, t.matmulLocal, t.tileRows, t.tileColumns4 = false, 8, 16, 8
		t.fewLocal, t.matmulGroups = c.SubgroupSize, 16
		t.lanes = c.SubgroupShuffle && t.oneSubgroup > 0 && t.subgroup%4 == 0 && t.subgroup <= 16
		// lavapipe shuffles in one instruction, SwiftShader lane by lane: products of
		// 512 became twice as fast on the former, and ten times as slow on the latter.
		t.laneTiles = t.lanes && t.subgroup >= 8
	}
	t.local, t.scanLocal = min(t.local, c.MaxInvocations), min(t.scanLocal, c.MaxInvocations)
	return t
}

// subgroups is the constant SUBGROUPS of lib/reduce.glsl for workgroups of so many invocations.
func (t *tuning) subgroups(local uint32) uint32 {
	switch {
	case !t.arithmetic:
		return shaders.NoSubgroups
	case local == t.oneSubgroup:
		return shaders.OneSubgroup
	}
	return shaders.AnySubgroups
}
