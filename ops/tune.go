package ops

import (
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// tuning is what kernels are specialized with on a kind of device. Every
// choice gives the same values up to the order of f32 sums.
type tuning struct {
	local                  uint32 // invocations per workgroup, the most of them for a row
	work, muchWork         uint32 // groups of four values that each of them handles at a time, in small tensors and in large ones
	maxGroups              int    // workgroups of elementwise kernels
	workers                int    // workgroups of kernels that stride over chunks
	chunk4                 int    // groups of four values per chunk of a parameter arena
	rowKeep4               int    // groups of four values that each of them may hold, to read a row once
	ownRows                int    // from so many rows on cross-entropy gives each invocation rows of its own
	maxRows                int    // workgroups of kernels that stride over rows
	keep4                  int    // most groups of four values that an invocation holds, when that makes a whole row
	scanLocal              uint32 // invocations per workgroup that goes through a whole list
	subgroup               uint32 // invocations that run in lockstep, 1 where kernels can't count on it
	arithmetic             bool   // reduce with subgroup arithmetic, not through shared memory only
	oneSubgroup            uint32 // a workgroup of so many invocations is one subgroup; 0: none is known to be
	wide                   bool   // read texel buffers and write words of 64 bits, in kernels that can
	sharedTiles            bool   // matrix products go through shared memory
	sharedBlocks           int    // of 64 rows and of 64 columns, in the largest of their tiles
	laneTiles              bool   // or else are of a subgroup, whose lanes share what they load
	matmulLocal            uint32 // invocations per workgroup of the others
	tileRows, tileColumns4 int    // of their product, per invocation
	fewLocal               uint32 // invocations per workgroup of products of few rows
	matmulGroups           int    // workgroups that keep the device busy with a product
	turns                  uint32 // that the loops of an invocation may take: lavapipe ends them after 65535 without a word
	lanes                  bool   // attention shares rows among the lanes of a subgroup, not through shared memory
}

func tune(i vk.Info) tuning {
	c := i.Caps
	t := tuning{local: 256, work: 4, muchWork: 4, maxGroups: 1 << 30, workers: 1024, chunk4: 4096,
		ownRows: 1 << 32, maxRows: 1 << 16, keep4: 8, scanLocal: 256, subgroup: 1, turns: 65000,
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
		t.local, t.work, t.muchWork, t.keep4 = c.SubgroupSize, 64, 1024, 0
		if c.SubgroupSize >= 8 {
			t.work, t.muchWork, t.maxGroups, t.keep4 = 16, 16, 4096, 32
			// lavapipe loads and stores for each invocation on its own, 20 cycles for 32
			// bits or for 64, but fetches texels with vector instructions: products became
			// 1.7 times as fast, sums of tensors five times.
			if t.wide = c.Int64 && c.MaxTexels >= c.MaxStorageRange/8; t.wide {
				t.rowKeep4 = 32
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
