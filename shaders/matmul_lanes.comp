// matmul_lanes: C = alpha A B + bias, C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl. A is (m, k), or (k, m)
// with A_BY_K; B is (k, n) with B_BY_K, or (n, k). Variants x_y: A and B are x, C is y.
// For processors, where a load costs as much as dozens of products: a subgroup, which is a workgroup of LOCAL = 4 or 8 lanes,
// DOWN by 2 of them, has a tile of C, each lane ROWS rows by COLUMNS4 groups of four columns of it in registers. A step of
// four values of k is loaded once per subgroup, an equal share by each lane, and handed around by shuffles, which cost next
// to nothing. The index of a register has to be a constant, so shares are laid out such that only the lane depends on who
// asks. ROWS is a multiple of four, 4 COLUMNS4 of DOWN.
//types f32 b16 b16_f32
//wide
#version 450
#extension GL_KHR_shader_subgroup_shuffle : require
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/matmul.glsl"
layout(constant_id = 10) const uint ROWS = 4;
layout(constant_id = 11) const uint COLUMNS4 = 2;
layout(constant_id = 12) const bool A_BY_K = false;
layout(constant_id = 14) const bool B_BY_K = false;

const uint DOWN = LOCAL / 2;              // lanes below each other
const uint SHARE_A = ROWS / 2;            // groups of A that a lane loads per step
const uint SHARE_B = 4 * COLUMNS4 / DOWN; // and of B

// Row k + kk of a matrix stored by k, group `column4` of it; zeros from k_end on, whatever B has there.
#define load_by_k(x, start, stride, kk, column4) mix(vec4(0), load4(x, start + min(kk, k_end - 1) * stride + column4), bvec4(kk < k_end))

void main() {
    uint down = (p.m + ROWS * DOWN - 1) / (ROWS * DOWN), across = (p.n + 8 * COLUMNS4 - 1) / (8 * COLUMNS4);
    uint z = flat_group() / (down * across);
    if (z >= p.matrices) return;
    select_matrix(z);
    uvec2 start = tile_at(flat_group() % (down * across), down, across) * uvec2(ROWS * DOWN, 8 * COLUMNS4);
    uint my_row = lane / 2, my_column = lane % 2; // of the lanes in the tile
    vec4 sum[ROWS][COLUMNS4];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) sum[i][j] = vec4(0);
    // Where the share starts: rows of A and of B; stored by k, groups of columns.
    uint from_a[SHARE_A], from_b[SHARE_B];
    [[unroll]] for (uint r = 0; r < SHARE_A; r++)
        from_a[r] = A_BY_K ? min((start.x + my_row * ROWS) / 4 + r % (ROWS / 4), (p.m - 1) / 4) : a0 + min(start.x + lane * SHARE_A + r, p.m - 1) * p.lda4;
    [[unroll]] for (uint r = 0; r < SHARE_B; r++)
        from_b[r] = B_BY_K ? min(start.y / 4 + lane / DOWN * COLUMNS4 + r % COLUMNS4, (p.n - 1) / 4) : b0 + min(start.y + lane * SHARE_B + r, p.n - 1) * p.ldb4;
    for (uint k = k_start; k < k_end; k += 4) {
        vec4 share_a[SHARE_A], share_b[SHARE_B];
        [[unroll]] for (uint r = 0; r < SHARE_A; r++) {
            if (A_BY_K) share_a[r] = load_by_k(a, a0, p.lda4, k + r / (ROWS / 4) * 2 + lane % 2, from_a[r]);
            else share_a[r] = load4(a, from_a[r] + k / 4);
        }
        [[unroll]] for (uint r = 0; r < SHARE_B; r++) {
            if (B_BY_K) share_b[r] = load_by_k(b, b0, p.ldb4, k + r / COLUMNS4 * DOWN + lane % DOWN, from_b[r]);
            else share_b[r] = load4(b, from_b[r] + k / 4);
        }
        vec4 row[ROWS]; // of A: values k to k + 3
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            if (A_BY_K) {
                [[unroll]] for (uint kk = 0; kk < 4; kk++) row[i][kk] = subgroupShuffle(share_a[kk / 2 * (ROWS / 4) + i / 4][i % 4], my_row * 2 + kk % 2);
            } else row[i] = subgroupShuffle(share_a[i % SHARE_A], my_row * 2 + i / SHARE_A);
        }
        [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
            vec4 column[4]; // group j of rows k to k + 3 of B
            [[unroll]] for (uint c = 0; c < 4; c++) {
                if (B_BY_K) column[c] = subgroupShuffle(share_b[c / DOWN * COLUMNS4 + j], my_column * DOWN + c % DOWN);
                else {
                    vec4 by_k = subgroupShuffle(share_b[(4 * j + c) % SHARE_B], my_column * DOWN + (4 * j + c) / SHARE_B);
                    [[unroll]] for (uint kk = 0; kk < 4; kk++) column[kk][c] = by_k[kk];
                }
            }
            [[unroll]] for (uint i = 0; i < ROWS; i++) {
                vec4 s = sum[i][j];
                [[unroll]] for (uint kk = 0; kk < 4; kk++) s = fma(vec4(row[i][kk]), column[kk], s);
                sum[i][j] = s;
            }
        }
    }
    [[unroll]] for (uint j = 0; j < COLUMNS4; j++) {
        uint column4 = start.y / 4 + my_column * COLUMNS4 + j;
        vec4 bias = bias4(column4);
        [[unroll]] for (uint i = 0; i < ROWS; i++) store4(start.x + my_row * ROWS + i, column4, sum[i][j], bias);
    }
}
