// matmul_tn: C = alpha A^T B + bias, A (k, m), B (k, n), C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl.
// For processors: one invocation per tile of C, see lib/tile.glsl; ROWS is a multiple of four. Variants x_y: A and B are x, C
// is y.
//types f32 b16 b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/matmul.glsl"
#include "lib/tile.glsl"

void main() {
    uvec2 start = tile_start();
    if (start.x >= p.m) return;
    uint row[ROWS / 4], column[COLUMNS4];
    vec4 sum[ROWS][COLUMNS4];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) sum[i][j] = vec4(0);
    [[unroll]] for (uint i = 0; i < ROWS / 4; i++) row[i] = a0 + min(start.x / 4 + i, (p.m - 1) / 4);
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) column[j] = b0 + min(start.y + j, (p.n - 1) / 4);
    for (uint k = k_start; k < k_end; k++) {
        vec4 a4[ROWS / 4];
        [[unroll]] for (uint i = 0; i < ROWS / 4; i++) a4[i] = load4(a, k * p.lda4 + row[i]);
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
            vec4 b4 = load4(b, k * p.ldb4 + column[j]);
            [[unroll]] for (uint i = 0; i < ROWS; i++) sum[i][j] += a4[i / 4][i % 4] * b4;
        }
    }
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
        vec4 bias = bias4(start.y + j);
        [[unroll]] for (uint i = 0; i < ROWS; i++) store4(start.x + i, start.y + j, sum[i][j], bias);
    }
}
