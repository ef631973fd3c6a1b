package ops

import "github.com/lemnos-ml/lemnos/vk"

// tuning is what kernels are specialized with on a kind of device. Every
// choice gives the same values up to the order of f32 sums.
type tuning struct {
	local                  uint32 // invocations per workgroup of elementwise kernels
	work                   uint32 // groups of four values that each of them handles
	rowLocal               uint32 // of kernels that give a workgroup to each row
	subgroup               uint32 // 1: reduce through shared memory only
	workers                int    // workgroups of kernels that stride over chunks
	maxRows                int    // workgroups of kernels that stride over rows
	matmulLocal            uint32 // invocations per workgroup of matrix products
	tileRows, tileColumns4 int    // of the product, per invocation
	chunk4                 int    // groups of four values per chunk of a parameter arena
	keep4                  uint32 // row groups that an invocation of cross-entropy keeps in registers
}

func tune(i vk.Info) tuning {
	c := i.Caps
	t := tuning{local: 256, work: 4, rowLocal: 256, subgroup: 1, workers: 1024, maxRows: 1 << 16, matmulLocal: 64, tileRows: 4, tileColumns4: 2, chunk4: 4096, keep4: 8}
	if i.Kind == vk.CPU {
		// A workgroup is a loop on one core there: few invocations, each with much
		// to do.
		t.local, t.rowLocal, t.workers = 64, 32, 64
		t.matmulLocal, t.tileRows, t.tileColumns4 = 8, 16, 8
	} else if c.SubgroupArithmetic {
		t.subgroup = c.SubgroupSize
	}
	t.local, t.rowLocal = min(t.local, c.MaxInvocations), min(t.rowLocal, c.MaxInvocations)
	return t
}

// Workers returns how many workgroups a kernel that strides over chunks should
// have on this device.
func (g *Graph) Workers() int { return g.tune.workers }

// Chunk4 returns how long a chunk of a parameter arena should be on this
// device, in groups of four values.
func (g *Graph) Chunk4() int { return g.tune.chunk4 }
