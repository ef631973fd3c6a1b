// matmul_nt: C = alpha A B^T + bias, A (m, k), B (n, k), C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl.
// For processors: one invocation per tile of C, see lib/tile.glsl. Variants x_y: A and B are x, C is y.
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
    uint row[ROWS], column[4 * COLUMNS4];
    vec4 sum[ROWS][COLUMNS4];
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        row[i] = a0 + min(start.x + i, p.m - 1) * p.lda4;
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) sum[i][j] = vec4(0);
    }
    [[unroll]] for (uint j = 0; j < 4 * COLUMNS4; j++) column[j] = b0 + min(start.y * 4 + j, p.n - 1) * p.ldb4;
    for (uint k = k_start / 4; k * 4 < k_end; k++) { // the padding of both is zero
        vec4 a4[ROWS];
        [[unroll]] for (uint i = 0; i < ROWS; i++) a4[i] = load4(a, row[i] + k);
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
            vec4 b0 = load4(b, column[4 * j] + k), b1 = load4(b, column[4 * j + 1] + k);
            vec4 b2 = load4(b, column[4 * j + 2] + k), b3 = load4(b, column[4 * j + 3] + k);
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                sum[i][j] += vec4(dot(a4[i], b0), dot(a4[i], b1), dot(a4[i], b2), dot(a4[i], b3));
        }
    }
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
        vec4 bias = bias4(start.y + j);
        [[unroll]] for (uint i = 0; i < ROWS; i++) store4(start.x + i, start.y + j, sum[i][j], bias);
    }
}
