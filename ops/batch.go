package ops

// Batch draws b windows of m+1 tokens from tokens, a U16 or U32 vector of n ids
// on the device, and returns inputs x and targets y, both I32 (b, m): y is x
// one token later. Starts are uniform over all n−m windows. Write
// (k low, k high, rank, 0) to at before each run: batch k of a rank is a pure
// function of (seed, rank, k), the same on every device and in train's batcher.
// An immediate graph draws at once, batch 0 of rank 0.
func (g *Graph) Batch(tokens *Tensor, b, m int, seed uint64) (x, y, at *Tensor) {
	const op = "batch"
	if !g.ok(op, tokens) || !g.check((tokens.dtype == U16 || tokens.dtype == U32) && len(tokens.shape) == 1, op, "tokens %v: want a u16 or u32 vector", tokens) ||
		!g.check(b > 0 && m > 0, op, "batch of %d windows of %d tokens", b, m) ||
		!g.check(tokens.Len() >= m+1, op, "%d tokens are too few for a window of %d+1", tokens.Len(), m) {
		return g.bad(I32), g.bad(I32), g.bad(U32)
	}
	at = g.Input("batch", U32, 4)
	g.Updater().StageEachRun(at, "Upload with the number of the batch")
	if g.immediate { // 0, as it can't be written first
		at.wrote()
	}
	x, y = g.New(I32, b, m), g.New(I32, b, m)
	g.add(op, Call{Kernel: "batch", Items: b * m, Spec: idSpec(tokens), Push: struct{ B, M, N, SeedLo, SeedHi uint32 }{
		uint32(b), uint32(m), uint32(tokens.Len()), uint32(seed), uint32(seed >> 32)}, Args: []*Tensor{tokens, at, x, y}})
	return x, y, at
}
