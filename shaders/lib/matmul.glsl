// What the matrix products share: C = alpha A B + bias for each matrix of a batch, or C += that with ACCUMULATE. C is (m, n),
// k is summed over. BIAS (n) is added to each row with bias; without, it is not read and may be any buffer. Strides are in
// groups of four values: ld* from row to row, step_* from matrix to matrix.
// Matrix z of `matrices` is number z % batch of A and B, and covers part z / batch of k, k_part values of it: where k is split,
// C has room for the parts, and a column sum joins them.
// EPILOGUE says what else happens to a value of C, rounded to C's type, before it is stored, so that the bits are those of
// kernels binary, unary or unary_back behind this one: OTHER, of the shape and type of C, is added, or else FUNCTION of
// lib/functions.glsl is applied, in addition (to D, C being as without) or instead, or the value is multiplied by the slope of
// FUNCTION at OTHER. Where OTHER is not read it may be any buffer, and so may D where it is not written. Only with FUNCTIONS defined
// is there a D, and a FUNCTION: kernels for processors store in loops that are unrolled a hundred times.
// needs:   lib/types.glsl, lib/index.glsl; with FUNCTIONS lib/math.glsl, lib/functions.glsl
// defines: p, A, B, BIAS, OTHER, C, D, select_matrix (a0, b0, c0, k_start, k_end), tile_at, bias4, store4
layout(constant_id = 15) const bool ACCUMULATE = false; // a constant: lavapipe compiles twice as fast without it
const uint PLAIN = 0, PLUS_OTHER = 1, APPLY = 2, ALSO_APPLY = 3, TIMES_SLOPE = 4;
layout(constant_id = 18) const uint EPILOGUE = PLAIN;
layout(push_constant) uniform P {
    uint m, n, k, lda4, ldb4, ldc4, step_a4, step_b4, step_c4, batch, matrices, k_part, bias;
    float alpha;
} p;
INPUT(0, A, a);
INPUT(1, B, b);
INPUT(2, BIAS, bias);
INPUT(3, OTHER, other);
layout(binding = 4) buffer C { W c[]; };
#if defined(FUNCTIONS) && defined(B16) == defined(TO_B16)
#define FUNCTIONS_IN_STORE
layout(binding = 5) writeonly buffer D { W d[]; };
#endif

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
    bvec4 padding = greaterThanEqual(column4 * 4 + uvec4(0, 1, 2, 3), uvec4(p.n));
    W y = st4_to(mix(x, vec4(0), padding));
    if (EPILOGUE != PLAIN) {
        x = ld4_to(y);
        if (EPILOGUE == PLUS_OTHER) x += load4(other, i);
#ifdef FUNCTIONS_IN_STORE
        if (EPILOGUE == ALSO_APPLY) c[i] = y;
        if (EPILOGUE == APPLY || EPILOGUE == ALSO_APPLY) x = function(x);
        if (EPILOGUE == TIMES_SLOPE) x *= slope(load4(other, i));
#endif
        y = st4_to(mix(x, vec4(0), padding));
    }
#ifdef FUNCTIONS_IN_STORE
    if (EPILOGUE == ALSO_APPLY) d[i] = y;
    else c[i] = y;
#else
    c[i] = y;
#endif
}
