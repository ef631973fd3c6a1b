package ops

import (
	"testing"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// gpus are a GPU with few registers for an invocation, and others.
var gpus = []vk.Info{
	{Kind: vk.Discrete, Driver: "Intel open-source Mesa driver Mesa 25.0.7", Caps: vk.Caps{MaxInvocations: 1024, SubgroupSize: 32, SubgroupArithmetic: true, FullSubgroups: true}},
	{Kind: vk.Discrete, Driver: "NVIDIA 580", Caps: vk.Caps{MaxInvocations: 1024, SubgroupSize: 32, SubgroupArithmetic: true, FullSubgroups: true}},
	{Kind: vk.Integrated, Driver: "radv Mesa 22.3.6", Caps: vk.Caps{MaxInvocations: 1024, SubgroupSize: 64, SubgroupArithmetic: true, FullSubgroups: true}},
	{Kind: vk.Integrated, Driver: "small", Caps: vk.Caps{MaxInvocations: 128, SubgroupSize: 4, SubgroupArithmetic: true}},
}

// What an invocation of attention holds on a GPU: of a cache's head at most four groups of the query and four of the sum; of a
// tile 64 sums, or 32 where registers are few, except that one row is never shared.
func TestAttentionRegisters(t *testing.T) {
	for _, info := range gpus {
		tuning := tune(info)
		for s4 := 1; s4 <= MaxHeadSize/4; s4++ {
			share, local := tuning.decodeShare(s4)
			if ceilDiv(s4, int(share)) > 4 || local > info.Caps.MaxInvocations || local%share != 0 {
				t.Errorf("%s: %d of %d invocations share a key of %d groups", info.Driver, share, local, s4)
			}
			for kernel, sums := range map[string]int{"attention": 1, "attention_dq": 1, "attention_dkv": 2} {
				most := 64
				if tuning.fewRegisters {
					most = 32
				}
				rows := tuning.attentionRows(kernel, s4)
				if held := rows * 4 * sums * ceilDiv(s4, 8); rows > 1 && held > most {
					t.Errorf("%s: an invocation of %s has %d sums of heads of %d groups", info.Driver, kernel, held, s4)
				}
			}
		}
	}
}

// A workgroup of one subgroup is one of 32 invocations on a GPU that would choose less to give each more registers.
func TestRowsWithFewRegisters(t *testing.T) {
	for _, info := range gpus {
		g := &Graph{tune: tune(info)}
		for _, n4 := range []int{1, 16, 64, 4096} {
			if local := g.tune.sharers(n4, 1, g.tune.local); g.tune.fewRegisters && g.tune.subgroups(local) == shaders.OneSubgroup || local > info.Caps.MaxInvocations {
				t.Errorf("%s: %d invocations share a row of %d groups", info.Driver, local, n4)
			}
		}
	}
}

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
