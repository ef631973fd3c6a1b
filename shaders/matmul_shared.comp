// matmul_shared: C = alpha A B + bias, C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl. A is (m, k), or (k, m)
// with A_BY_K; B is (k, n) with B_BY_K, or (n, k). Variants x_y: A and B are x, C is y.
// For GPUs: a workgroup of 16 by 16 invocations has a tile of C of 64 ROWS4 rows by 64 COLUMNS4 columns, each of them ROWS4 by
// COLUMNS4 blocks of 4 by 4 in registers, 64 apart, so that neighbors store neighboring groups. Tiles of A and B, STEP values of
// k at a time, go through shared memory, k by k, as rows of groups of four; the next ones are loaded while these are
// multiplied. What lies outside the matrices is zero there.
//types f32 b16 b16_f32
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
#define FUNCTIONS
#include "lib/matmul.glsl"
layout(constant_id = 10) const uint ROWS4 = 1;
layout(constant_id = 11) const uint COLUMNS4 = 1;
layout(constant_id = 12) const bool A_BY_K = false;
layout(constant_id = 14) const bool B_BY_K = false;

const uint STEP = 16;
const uint PAD = 1; // a row of shared memory ends in a group that shifts the next one to other banks
shared vec4 tile_a[STEP][16 * ROWS4 + PAD];
shared vec4 tile_b[STEP][16 * COLUMNS4 + PAD];

// Which group of a tile of 64 rows or columns an invocation loads. By k: k and a group of rows. Else: a row and a group of k.
uvec2 place(bool by_k) { return by_k ? uvec2(lane / 16, lane % 16) : uvec2(lane / 4, lane % 4); }

vec4 load_a(uint k, uint row) {
    uvec2 at = place(A_BY_K) + (A_BY_K ? uvec2(k, row / 4) : uvec2(row, k / 4));
    bool inside = A_BY_K ? at.x < k_end && at.y * 4 < p.m : at.x < p.m && at.y * 4 < k_end;
    return inside ? load4(a, a0 + at.x * p.lda4 + at.y) : vec4(0);
}

vec4 load_b(uint k, uint column) {
    uvec2 at = place(B_BY_K) + (B_BY_K ? uvec2(k, column / 4) : uvec2(column, k / 4));
    bool inside = B_BY_K ? at.x < k_end && at.y * 4 < p.n : at.x < p.n && at.y * 4 < k_end;
    return inside ? load4(b, b0 + at.x * p.ldb4 + at.y) : vec4(0);
}

void keep_a(uint i, vec4 x) {
    uvec2 at = place(A_BY_K);
    if (A_BY_K) tile_a[at.x][16 * i + at.y] = x;
    else [[unroll]] for (uint kk = 0; kk < 4; kk++) tile_a[4 * at.y + kk][16 * i + at.x / 4][at.x % 4] = x[kk];
}

void keep_b(uint j, vec4 x) {
    uvec2 at = place(B_BY_K);
    if (B_BY_K) tile_b[at.x][16 * j + at.y] = x;
    else [[unroll]] for (uint kk = 0; kk < 4; kk++) tile_b[4 * at.y + kk][16 * j + at.x / 4][at.x % 4] = x[kk];
}

void main() {
    uint down = (p.m + 64 * ROWS4 - 1) / (64 * ROWS4), across = (p.n + 64 * COLUMNS4 - 1) / (64 * COLUMNS4);
    uint z = flat_group() / (down * across);
    if (z >= p.matrices) return;
    select_matrix(z);
    uvec2 start = tile_at(flat_group() % (down * across), down, across) * 64 * uvec2(ROWS4, COLUMNS4);
    vec4 sum[4 * ROWS4][COLUMNS4], next_a[ROWS4], next_b[COLUMNS4];
    [[unroll]] for (uint r = 0; r < 4 * ROWS4; r++)
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) sum[r][j] = vec4(0);
    [[unroll]] for (uint i = 0; i < ROWS4; i++) next_a[i] = load_a(k_start, start.x + 64 * i);
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) next_b[j] = load_b(k_start, start.y + 64 * j);
    for (uint k = k_start; k < k_end; k += STEP) {
        barrier(); // the tiles before these have been read
        [[unroll]] for (uint i = 0; i < ROWS4; i++) keep_a(i, next_a[i]);
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) keep_b(j, next_b[j]);
        barrier();
        [[unroll]] for (uint i = 0; i < ROWS4; i++) next_a[i] = load_a(k + STEP, start.x + 64 * i);
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) next_b[j] = load_b(k + STEP, start.y + 64 * j);
        for (uint kk = 0; kk < STEP; kk++) {
            vec4 b4[COLUMNS4];
            [[unroll]] for (uint j = 0; j < COLUMNS4; j++) b4[j] = tile_b[kk][16 * j + lane % 16];
            [[unroll]] for (uint i = 0; i < ROWS4; i++) {
                vec4 a4 = tile_a[kk][16 * i + lane / 16];
                [[unroll]] for (uint r = 0; r < 4; r++)
                    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) sum[4 * i + r][j] += a4[r] * b4[j];
            }
        }
    }
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
        uint column4 = start.y / 4 + 16 * j + lane % 16;
        vec4 bias = bias4(column4);
        [[unroll]] for (uint r = 0; r < 4 * ROWS4; r++)
            store4(start.x + 64 * (r / 4) + lane / 16 * 4 + r % 4, column4, sum[r][j], bias);
    }
}
