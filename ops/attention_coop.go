package ops

import "github.com/lemnos-ml/lemnos/vk"

// coopHead is the longest head that attention on cooperative matrices takes: the
// sums of longer ones do not fit into registers.
const coopHead = 128

// coopPairs is PAIRS of lib/attention_coop.glsl.
const coopPairs = 4

// coopRows is how many rows a workgroup of attention has with matrices of a shape.
func coopRows(m vk.Matrix) int { return coopPairs * int(m.M) }

// coopInvocations is how many invocations it has.
func (g *Graph) coopInvocations() int { return 2 * coopPairs * int(g.dev.Info().Caps.SubgroupSize) }

// attentionMatrices returns the cooperative matrices for a call of kernel attention,
// attention_dq or attention_dkv; ok says whether the device has them and they fit.
func (g *Graph) attentionMatrices(a *attention, kernel string) (m vk.Matrix, ok bool) {
	if a.o.Mask != nil || a.q.shape[3] > coopHead {
		return m, false
	}
	tiles := g.coopTiles(coopAttention, a.q.dtype)
	if len(tiles) == 0 {
		return m, false
	}
	m = tiles[0].matrix
	c, tile, local := g.dev.Info().Caps, coopRows(m), g.coopInvocations()
	head := ceilDiv(4*a.q.stride4(), 2*int(m.N)) * 2 * int(m.N)
	return m, tile/2%int(m.N) == 0 && tile%int(m.K) == 0 && head%int(m.K) == 0 && local%tile == 0 && int(m.M*m.N/4)%(local/2/coopPairs) == 0 &&
		local <= int(c.MaxInvocations) && coopAttentionBytes(kernel, tile, head, int(m.M), int(m.N)) <= int(c.SharedMemory)
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
