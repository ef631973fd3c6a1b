package ops

import (
	"math/bits"
	"os"
	"strings"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// tuning is what kernels are specialized with on a kind of device. Every choice
// gives the same values up to the order of f32 sums, and deviceExp up to rounding.
// A group is four neighboring values of a row, what kernels load and store at a time.
type tuning struct {
	// Kernels that handle each value by itself, and the limits of all.
	local      uint32 // invocations per workgroup
	work       uint32 // groups that an invocation takes at a time: WORK of lib/index.glsl
	largeWork  uint32 // the same in tensors so large that every core has work even so
	maxGroups  int    // workgroups, beyond which they stride
	wide       bool   // variants _wide: they read texel buffers and write words of 64 bits
	maxTurns   uint32 // passes through all loops of an invocation
	subgroup   uint32 // invocations that run in lockstep, 1 where kernels can't count on it
	arithmetic bool   // reductions use subgroup arithmetic, not shared memory alone

	oneSubgroup uint32 // a workgroup of so many invocations is one subgroup; 0: none is known to be

	// Kernels that go through rows, lists, or chunks of a parameter arena.
	maxRows            int    // workgroups of kernels with one for each row, beyond which they stride
	ownRows            int    // from so many rows on, cross-entropy gives each invocation a row instead of sharing each among a workgroup
	crossEntropyKeep4  int    // groups that an invocation of cross-entropy may hold, so that a row which fits is read once
	deviceExp          bool   // cross-entropy takes 2^x as the device computes it
	rowLocal           uint32 // invocations that share a row, at least
	rowKeep4           int    // groups of a row for each of them, before there are more; norms take what they may hold
	rowMost            uint32 // invocations that share a row, at most
	normKeep4          int    // groups that an invocation of a norm may hold
	layerNormBackKeep4 int    // the same of layernorm_back, which needs most registers for each
	normRows           int    // rows for which a workgroup of a norm reads the weights once, at least
	scanLocal          uint32 // invocations of a workgroup that goes through a whole list alone
	sampleLocal        uint32 // the same of kernel sample, with many barriers
	workers            int    // workgroups that stride over chunks
	chunk4             int    // groups per chunk

	// Matrix products: the kernel is matmul_coop, else matmul_shared, else matmul_lanes, else matmul_nn, nt or tn.
	coop                   map[DType][]coopTiling // matmul_coop, by the type of the factors: its tiles, the largest first
	coopTrusted            bool                   // it was checked that they are right and faster
	tuned                  tunedTiles             // the largest tiles that were measured to be best
	splitInto              DType                  // what factors of f32 are cut into; f16 would overflow
	sharedTiles            bool                   // matmul_shared
	cores                  int                    // that run its workgroups, as the device says or as there usually are
	fewRegisters           bool                   // for the sums of its largest tile: see fewRegisters
	laneTiles              bool                   // matmul_lanes
	matmulLocal            uint32                 // invocations per workgroup of matmul_nn, nt and tn
	tileRows, tileColumns4 int                    // of the product, for each invocation of these and of matmul_lanes
	fewLocal               uint32                 // invocations per workgroup of matmul_few
	matmulGroups           int                    // workgroups that keep the device busy: with fewer, the sum over k is cut into parts

	decodeKeep4 int  // groups of a head that an invocation of attention_decode has: several share a longer one
	lanes       bool // attention is the attention_lanes kernels, where lanes shuffle rows, not those that share them in memory
}

func tune(i vk.Info) tuning {
	c := i.Caps
	t := tuning{
		local: 256, work: 4, largeWork: 4, maxGroups: 1 << 30, maxTurns: 1 << 31, subgroup: 1,
		maxRows: 1 << 16, ownRows: 1 << 32, deviceExp: i.Kind != vk.CPU, rowKeep4: 8, rowMost: 512,
		normKeep4: 4, layerNormBackKeep4: 2, normRows: 1, scanLocal: 256, sampleLocal: 1024, workers: 1024, chunk4: 4096,
		splitInto: BF16, sharedTiles: c.MaxInvocations >= sharedLocal, cores: 16,
		matmulLocal: 64, tileRows: 4, tileColumns4: 2, fewLocal: 64, matmulGroups: 256,
		decodeKeep4: 4,
	}
	if t.arithmetic = c.SubgroupArithmetic; t.arithmetic {
		t.subgroup = c.SubgroupSize
		if c.FullSubgroups {
			t.oneSubgroup = c.SubgroupSize
		}
	}
	t.rowLocal = max(t.subgroup, 2) // kernels need two
	if t.fewRegisters = fewRegisters(&i); t.fewRegisters {
		t.rowLocal *= 2 // a workgroup of one subgroup has one of 32, with 32 registers for each; else the driver may make it smaller
	}
	switch choice := os.Getenv("LEMNOS_MATRIX_CORES"); {
	case choice == "on":
		t.coop, t.coopTrusted = coopTiles(&i), true
	case choice != "off" && i.Kind != vk.CPU: // processors multiply such matrices one value after the other
		t.coop = coopTiles(&i)
	}
	switch {
	case c.Cores > 0:
		t.cores = int(c.Cores)
	case i.Kind == vk.Discrete:
		t.cores = 64
	}
	if strings.Contains(i.Name, "llvmpipe") {
		t.maxTurns = lavapipeTurns
	}
	if i.Kind == vk.CPU {
		t.onProcessor(&c)
	}
	for _, local := range []*uint32{&t.local, &t.scanLocal, &t.sampleLocal, &t.rowMost} {
		*local = min(*local, 1<<bits.Len32(c.MaxInvocations)>>1) // trees of sums need a power of two
	}
	return t
}

// lavapipeTurns is nearly as often as loops of an invocation may turn on lavapipe, which ends them
// silently after 65,535 passes in all.
const lavapipeTurns = 65000

// onProcessor chooses for a software device.
func (t *tuning) onProcessor(c *vk.Caps) {
	// A processor runs a workgroup on one core, as a loop over its subgroups. With
	// one subgroup for each workgroup, and much work for each invocation, there is
	// no such loop and no barrier, and memory is read in order. To start an
	// invocation costs SwiftShader, with subgroups of four, as much as to copy ten
	// groups: it copies 1.2 times as fast with 1024 groups for each as with 64. On
	// lavapipe cross-entropy of 1000 logits is 1.6 times as fast where 256
	// workgroups stride over the rows as with one for each, and a norm of rows of
	// 768 three times as fast where registers hold a row as in tiles. SwiftShader
	// can't run loops over registers that it has not unrolled, hence the 0.
	t.local, t.work, t.largeWork, t.normKeep4, t.rowMost = c.SubgroupSize, 64, 1024, 0, c.SubgroupSize
	if c.SubgroupSize >= 8 {
		t.work, t.largeWork, t.maxGroups, t.normKeep4 = 16, 16, 4096, 32
		// lavapipe loads and stores for each invocation on its own, 20 cycles for 32
		// bits or for 64, but fetches texels with vector instructions: products became
		// 1.7 times as fast, sums of tensors five times.
		if t.wide = c.Int64 && c.MaxTexels >= c.MaxStorageRange/8; t.wide {
			t.crossEntropyKeep4 = 32
		}
	} else {
		// SwiftShader spends a third of the time of cross-entropy, of rows of 1000
		// logits, on what it does once per row. A row for each invocation makes that
		// once per four rows.
		t.ownRows = 256
	}
	t.layerNormBackKeep4 = t.normKeep4
	t.workers, t.maxRows, t.normRows, t.scanLocal, t.sampleLocal = 256, 256, rowsPerBlock, 64, t.local
	t.sharedTiles, t.cores, t.matmulLocal, t.tileRows, t.tileColumns4 = false, 0, 8, 16, 8
	t.fewLocal, t.matmulGroups, t.decodeKeep4 = c.SubgroupSize, 16, MaxHeadSize/4
	t.lanes = c.SubgroupShuffle && t.oneSubgroup > 0 && t.subgroup%4 == 0 && t.subgroup <= 16
	// lavapipe shuffles in one instruction, SwiftShader lane by lane: products of
	// 512 became twice as fast on the former, and ten times as slow on the latter.
	t.laneTiles = t.lanes && t.subgroup >= 8
}

// fewRegisters says whether invocations have no room for 64 sums. A thread of Intel's GPUs has 128 registers of eight values
// for all of its 16 or 32 invocations; with tiles of 128 by 128 the kernels of products spill 100 to 2000 times there.
func fewRegisters(i *vk.Info) bool { return strings.Contains(i.Driver, "Intel") }

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
