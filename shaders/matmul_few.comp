// matmul_few: C = alpha A B^T + bias, A (m, k) with m at most ROWS, B (n, k), C (m, n); C += with ACCUMULATE; of a batch. See
// lib/matmul.glsl. For the few rows of decoding: B is read once, in order. Variants x_y: A and B are x, C is y.
// One workgroup per four columns; its invocations stride along k, neighbors over neighboring groups, and join their sums.
//types f32 b16 b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
#define FUNCTIONS
#include "lib/matmul.glsl"
layout(constant_id = 10) const uint ROWS = 1;

void main() {
    uint across = (p.n + 3) / 4, z = flat_group() / across;
    if (z >= p.matrices) return;
    select_matrix(z);
    uint column4 = flat_group() % across, row[ROWS], column[4];
    vec4 sum[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        row[i] = a0 + min(i, p.m - 1) * p.lda4;
        sum[i] = vec4(0);
    }
    [[unroll]] for (uint j = 0; j < 4; j++) column[j] = b0 + min(4 * column4 + j, p.n - 1) * p.ldb4;
    for (uint k = k_start / 4 + lane; k * 4 < k_end; k += LOCAL) {
        vec4 b4[4];
        [[unroll]] for (uint j = 0; j < 4; j++) b4[j] = load4(b, column[j] + k);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            vec4 a4 = load4(a, row[i] + k);
            sum[i] += vec4(dot(a4, b4[0]), dot(a4, b4[1]), dot(a4, b4[2]), dot(a4, b4[3]));
        }
    }
    vec4 bias = bias4(column4);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        vec4 all = reduce_sum(sum[i]);
        if (lane == 0) store4(i, column4, all, bias);
    }
}
