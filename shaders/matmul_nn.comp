// matmul_nn: C = alpha A B + bias, A (m, k), B (k, n), C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl.
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
    uint row[ROWS], column[COLUMNS4];
    vec4 sum[ROWS][COLUMNS4];
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        row[i] = a0 + min(start.x + i, p.m - 1) * p.lda4;
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) sum[i][j] = vec4(0);
    }
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) column[j] = min(start.y + j, (p.n - 1) / 4);
    for (uint k = k_start; k < k_end; k += 4) {
        vec4 a4[ROWS];
        [[unroll]] for (uint i = 0; i < ROWS; i++) a4[i] = load4(a, row[i] + k / 4);
        [[unroll]] for (uint kk = 0; kk < 4; kk++) {
            uint from = b0 + min(k + kk, k_end - 1) * p.ldb4; // B has no padding rows: the last one times the zeros of A
            [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
                vec4 b4 = load4(b, from + column[j]);
                [[unroll]] for (uint i = 0; i < ROWS; i++) sum[i][j] += a4[i][kk] * b4;
            }
        }
    }
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
        vec4 bias = bias4(start.y + j);
        [[unroll]] for (uint i = 0; i < ROWS; i++) store4(start.x + i, start.y + j, sum[i][j], bias);
    }
}
