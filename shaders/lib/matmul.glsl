// What the matrix products share: C = alpha A B + bias for each matrix of a batch, or C += that with ACCUMULATE. C is (m, n),
// k is summed over. BIAS (n) is added to each row with bias; without, it is not read and may be any buffer. Strides are in
// groups of four values: ld* from row to row, step_* from matrix to matrix.
// Matrix z of `matrices` is number z % batch of A and B, and covers part z / batch of k, k_part values of it: where k is split,
// C has room for the parts, and a column sum joins them.
// needs:   lib/types.glsl, lib/index.glsl
// defines: p, A, B, BIAS, C, select_matrix (a0, b0, c0, k_start, k_end), tile_at, bias4, store4
layout(constant_id = 15) const bool ACCUMULATE = false; // a constant: lavapipe compiles twice as fast without it
layout(push_constant) uniform P {
    uint m, n, k, lda4, ldb4, ldc4, step_a4, step_b4, step_c4, batch, matrices, k_part, bias;
    float alpha;
} p;
INPUT(0, A, a);
INPUT(1, B, b);
INPUT(2, BIAS, bias);
layout(binding = 3) buffer C { W c[]; };

uint a0, b0, c0;     // where the matrices start
uint k_start, k_end; // k_start is a multiple of four

void select_matrix(uint z) {
    a0 = z % p.batch * p.step_a4;
    b0 = z % p.batch * p.step_b4;
    c0 = z * p.step_c4;
    k_start = z / p.batch * p.k_part;
    k_end = min(k_start + p.k_part, p.k);
}

// Tile i of a matrix of (down, across) tiles, as row and column. Tiles lie in panels of eight columns, row after row within a
// panel: what is at work at one time reads few columns of B, which stay in a cache, and the rows of A in turn.
uvec2 tile_at(uint i, uint down, uint across) {
    uint panel = i / (down * 8), width = min(across - panel * 8, 8);
    i -= panel * down * 8;
    return uvec2(i / width, panel * 8 + i % width);
}

vec4 bias4(uint column4) { return p.bias != 0 && k_start == 0 ? load4(bias, min(column4, (p.n - 1) / 4)) : vec4(0); }

void store4(uint row, uint column4, vec4 sum, vec4 bias) {
    if (row >= p.m || column4 * 4 >= p.n) return;
    uint i = c0 + row * p.ldc4 + column4;
    vec4 x = p.alpha * sum + bias;
    if (ACCUMULATE) x += ld4_to(c[i]);
    c[i] = st4_to(mix(x, vec4(0), greaterThanEqual(column4 * 4 + uvec4(0, 1, 2, 3), uvec4(p.n))));
}
