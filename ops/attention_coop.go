package ops

import (
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/shaders"
)

// coopHead is the longest head that attention on cooperative matrices takes: the
// sums of longer ones do not fit into registers.
const coopHead = 128

// coopPairs is PAIRS of lib/attention_coop.glsl.
const coopPairs = 4

// onMatrixCores turns a call of kernel attention, attention_dq or attention_dkv
// with a workgroup for each tile of rows in each of heads heads into one on
// cooperative matrices, where the device has them and they fit.
func (g *Graph) onMatrixCores(a *attention, c *Call, kernel string, heads int) {
	tiles := g.coopTiles(coopAttention, a.q.dtype)
	if len(tiles) == 0 || a.o.Mask != nil || a.q.shape[3] > coopHead {
		return
	}
	m, s4 := tiles[0].matrix, a.q.stride4()
	tile, local := coopPairs*int(m.M), 2*coopPairs*int(g.dev.Info().Caps.SubgroupSize)
	head := ceilDiv(4*s4, 2*int(m.N)) * 2 * int(m.N)
	if tile/2%int(m.N) != 0 || tile%int(m.K) != 0 || head%int(m.K) != 0 || local%tile != 0 || int(m.M*m.N/4)%(local/2/coopPairs) != 0 ||
		local > int(g.dev.Info().Caps.MaxInvocations) || coopAttentionBytes(kernel, tile, head, int(m.M), int(m.N)) > int(g.dev.Info().Caps.SharedMemory) {
		return
	}
	c.Kernel = strings.Replace(kernel, "attention", "attention_coop", 1) + "." + a.q.dtype.String()
	c.Local, c.Groups = uint32(local), a.q.shape[0]*heads*ceilDiv(a.q.shape[1], tile)
	mask := slices.Index(c.Args, a.stats) + 1 // which these kernels don't have
	c.Args = slices.Delete(c.Args, mask, mask+1)
	delete(c.Spec, shaders.SpecLaneRows)
	c.Spec[shaders.SpecMatM], c.Spec[shaders.SpecMatN], c.Spec[shaders.SpecMatK] = m.M, m.N, m.K
}

// coopAttentionBytes is the shared memory of a workgroup.
func coopAttentionBytes(kernel string, tile, head, m, n int) int {
	rows := 16 * max(tile*(head/8+1), 2*coopPairs*m*(n/4+1))
	weights := 8 * tile * (tile/4 + 2)
	if kernel == "attention" {
		return rows + weights + 16*tile*(tile/4+1) + 4*tile
	}
	return rows + 16*tile*(head/8+1) + weights + 4*4*tile
}
