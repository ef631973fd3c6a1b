package ops

import "github.com/lemnos-ml/lemnos/vk"

// SetMatMulPrecision says how precise products of f32 tensors are, and their gradients, of operations recorded from now on, by
// PyTorch's names:
//
//   - "highest", as it is before: f32 throughout.
//   - "high" allows matrix cores that multiply bf16, three products instead of one: a factor x is x1 + x2, with x1 the bf16 nearest
//     to x and x2 that nearest to the rest, and x y is taken for x1 y1 + x1 y2 + x2 y1. About 16 bits of a factor count, where f32
//     has 24 and TF32 has 11. The range is that of f32, but an infinite factor makes NaN.
//   - "medium" allows one product: factors are rounded to bf16, of 8 bits, as if the tensors were stored so.
//
// Sums are f32 always. Tensors of 16 bits, and attention, are as they are. Where products do not run on matrix cores of bf16, see
// CheckMatrixCores, nothing changes.
func (g *Graph) SetMatMulPrecision(precision string) {
	pieces, known := map[string]uint32{"highest": 0, "high": 2, "medium": 1}[precision]
	if g.ok("set matmul precision") && g.check(known, "set matmul precision", "%q: want highest, high or medium", precision) {
		g.pieces = pieces
	}
}

// productTiles are the tiles of cooperative matrices for products of a type, none where these are not used.
func (g *Graph) productTiles(dt DType) []coopTiling {
	if dt != F32 {
		return g.coopTiles(coopProducts, dt)
	}
	if g.pieces == 0 {
		return nil
	}
	caps, tiles := g.dev.Info().Caps, []coopTiling(nil)
	for _, whole := range g.coopTiles(coopProducts, g.tune.splitInto) {
		t := coopTile(&caps, whole.matrix, whole.m(), whole.n(), whole.local(), coopStep/g.pieces) // as much of shared memory
		if t.split, t.pieces = true, g.pieces; t.fits(&caps) {
			tiles = append(tiles, t)
		}
	}
	return tiles
}

// splitVariant is the variant of kernel matmul_coop that cuts f32 into values for the matrices.
func splitVariant(m vk.Matrix) string {
	if m.BF16 {
		return "bf16split"
	}
	return "f16split"
}
