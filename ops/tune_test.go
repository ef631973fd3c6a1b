package ops

import (
	"testing"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// Products on a GPU with few registers have no tile whose sums do not fit into them.
func TestFewRegisters(t *testing.T) {
	info := vk.Info{Kind: vk.Discrete, Driver: "Intel open-source Mesa driver Mesa 25.0.7", Caps: vk.Caps{MaxInvocations: 1024, SubgroupSize: 32,
		SharedMemory: 64 << 10, Matrices: []vk.Matrix{{M: 8, N: 16, K: 16}}}}
	for _, few := range []bool{true, false} {
		tuning := tune(info)
		edge, tiles := tuning.matmulPlan("nt", 4096, 4096, 4096, 1, nil).spec[shaders.SpecEdge], coopTiles(&info)[F16]
		if few != (edge == 64) || few != (tiles[0].m() == 64) {
			t.Errorf("%s: tiles of %d, and of %d on matrix cores", info.Driver, edge, tiles[0].m())
		}
		info.Driver = "NVIDIA 580"
	}
}
