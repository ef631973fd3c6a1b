// What the three matrix products share: C = alpha A B, or C += alpha A B with accumulate; C is (m, n), k is summed over.
// With bias, BIAS (n) is added to each row; without, it is not read and may be any buffer. Strides in groups of four values. Each invocation holds a tile of ROWS rows by COLUMNS4 groups of four columns in
// registers and reads A and B straight from the buffers: on a processor the barriers of shared tiles cost more than they
// save. Tiles lie in row order along the flat index. Outside the matrix the last row or group is read again, and not written.
// needs:   lib/types.glsl, lib/index.glsl
// defines: p, A, B, C, ROWS, COLUMNS4, tile_start, bias4, store4
layout(constant_id = 10) const uint ROWS = 4;
layout(constant_id = 11) const uint COLUMNS4 = 2;
layout(push_constant) uniform P { uint m, n, k, lda4, ldb4, ldc4, accumulate, bias; float alpha; } p;
layout(binding = 0) readonly buffer A { V a[]; };
layout(binding = 1) readonly buffer B { V b[]; };
layout(binding = 2) readonly buffer BIAS { V bias[]; };
layout(binding = 3) buffer C { W c[]; };

// The first row and group of columns of this invocation's tile. The row is at least m when there is nothing to do.
uvec2 tile_start() {
    uint across = ((p.n + 3) / 4 + COLUMNS4 - 1) / COLUMNS4;
    return uvec2(flat_index() / across * ROWS, flat_index() % across * COLUMNS4);
}

vec4 bias4(uint column4) { return p.bias != 0 ? ld4(bias[min(column4, (p.n - 1) / 4)]) : vec4(0); }

void store4(uint row, uint column4, vec4 sum, vec4 bias) {
    if (row >= p.m || column4 * 4 >= p.n) return;
    uint i = row * p.ldc4 + column4;
    vec4 x = p.alpha * sum + bias;
    if (p.accumulate != 0) x += ld4_to(c[i]);
    c[i] = st4_to(mix(x, vec4(0), greaterThanEqual(column4 * 4 + uvec4(0, 1, 2, 3), uvec4(p.n))));
}
