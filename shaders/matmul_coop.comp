// matmul_coop: C = alpha A B + bias, C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl. A is (m, k), or (k, m)
// with A_BY_K; B is (k, n) with B_BY_K, or (n, k). Variants x_y: A and B are x, C is y; sums are f32.
// For devices with matrix cores: a subgroup multiplies matrices of MAT_M by MAT_K and MAT_K by MAT_N values, shapes that the
// device lists. It has ROWS by COLUMNS of them of C in registers, and a workgroup GRID_ROWS by GRID_COLUMNS subgroups. STEP
// values of k at a time go through shared memory, in two buffers: while one is multiplied the values for the other are on their
// way to registers. They keep the order in which they lie in memory, eight to a group; matrices are read from there by rows or
// by columns. What lies outside A and B is zero.
// The first product stands before the loop: sums that a product made lie in registers as the next one wants them, and Mesa's
// compiler for NVIDIA would move zeros there in each pass. For the same reason all loops over sums have constant bounds.
//newer
//types f16 bf16 f16_f32 bf16_f32
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
#define FUNCTIONS
#include "lib/matmul.glsl"
#include "lib/coop.glsl"
layout(constant_id = 10) const uint ROWS = 4;
layout(constant_id = 11) const uint COLUMNS = 2;
layout(constant_id = 12) const bool A_BY_K = false;
layout(constant_id = 14) const bool B_BY_K = false;
layout(constant_id = 35) const uint GRID_ROWS = 2;
layout(constant_id = 36) const uint GRID_COLUMNS = 4;
layout(constant_id = 37) const bool ALIGNED8 = false; // rows and matrices of A and B start at multiples of eight values
layout(constant_id = 38) const bool EXACT = false;    // that too, and m, n and parts of k are multiples of TILE_M, TILE_N and STEP

// The buffers again, in groups of eight values.
layout(binding = 0) readonly buffer A8 { uvec4 a8[]; };
layout(binding = 1) readonly buffer B8 { uvec4 b8[]; };

const uint STEP = 32;
const uint SUBGROUP = LOCAL / (GRID_ROWS * GRID_COLUMNS);
const uint TILE_M = GRID_ROWS * ROWS * MAT_M, TILE_N = GRID_COLUMNS * COLUMNS * MAT_N; // of C, per workgroup
// Rows of shared memory end in a group that shifts the next one to other banks.
const uint LINE_A = (A_BY_K ? TILE_M : STEP) / 8, STRIDE_A = LINE_A + 1, SIZE_A = (A_BY_K ? STEP : TILE_M) * STRIDE_A;
const uint LINE_B = (B_BY_K ? TILE_N : STEP) / 8, STRIDE_B = LINE_B + 1, SIZE_B = (B_BY_K ? STEP : TILE_N) * STRIDE_B;
const uint LINE_C = COLUMNS * MAT_N / 4, STRIDE_C = LINE_C + 1, SIZE_C = MAT_M * STRIDE_C; // a row of matrices of C, f32
const uint INPUTS = 2 * (SIZE_A + SIZE_B), OUTPUTS = GRID_ROWS * GRID_COLUMNS * SIZE_C;
shared uvec4 tiles[INPUTS > OUTPUTS ? INPUTS : OUTPUTS];

const uint LOADS_A = (TILE_M * STEP / 8 + LOCAL - 1) / LOCAL, LOADS_B = (TILE_N * STEP / 8 + LOCAL - 1) / LOCAL;
uvec4 next_a[LOADS_A], next_b[LOADS_B];

SUM sums[ROWS * COLUMNS];

// Two groups of four from i on, of which the first `inside` exist.
#define LOAD8(x)                                                                 \
    uvec4 load8_##x(uint i, uint inside) {                                       \
        if (inside >= 2) return ALIGNED8 ? x##8[i / 2] : uvec4(x[i], x[i + 1]);    \
        return inside == 1 ? uvec4(x[i], 0, 0) : uvec4(0);                       \
    }
LOAD8(a)
LOAD8(b)

// How many groups of four of a line of `size` values there are from group i on; none where the line does not exist.
uint inside(bool exists, uint size, uint i) { return exists && 4 * i < size ? (size + 3) / 4 - i : 0; }

// Item i of a tile from row or column `start` on: which line, and which group of four of it.
uvec2 item(uint i, uint line, bool by_k, uint k, uint start) {
    return uvec2(i / line, i % line * 2) + (by_k ? uvec2(k, start / 4) : uvec2(start, k / 4));
}

// Where in a8 and b8 this invocation's items are at k_start.
uint first_a[LOADS_A], first_b[LOADS_B];

void find_first(uvec2 start) {
    [[unroll]] for (uint n = 0; n < LOADS_A; n++) {
        uvec2 at = item(lane + n * LOCAL, LINE_A, A_BY_K, k_start, start.x);
        first_a[n] = (a0 + at.x * p.lda4 + at.y) / 2;
    }
    [[unroll]] for (uint n = 0; n < LOADS_B; n++) {
        uvec2 at = item(lane + n * LOCAL, LINE_B, B_BY_K, k_start, start.y);
        first_b[n] = (b0 + at.x * p.ldb4 + at.y) / 2;
    }
}

// Loads the items from k on; behind the last ones any.
void fetch(uint k, uvec2 start) {
    if (EXACT) {
        uint on = (min(k, k_end - STEP) - k_start) / 8;
        [[unroll]] for (uint n = 0; n < LOADS_A; n++) next_a[n] = a8[first_a[n] + on * (A_BY_K ? 4 * p.lda4 : 1)];
        [[unroll]] for (uint n = 0; n < LOADS_B; n++) next_b[n] = b8[first_b[n] + on * (B_BY_K ? 4 * p.ldb4 : 1)];
        return;
    }
    [[unroll]] for (uint n = 0; n < LOADS_A; n++) {
        uvec2 at = item(lane + n * LOCAL, LINE_A, A_BY_K, k, start.x);
        uint groups = A_BY_K ? inside(at.x < k_end, p.m, at.y) : inside(at.x < p.m, k_end, at.y);
        next_a[n] = load8_a(a0 + at.x * p.lda4 + at.y, groups);
    }
    [[unroll]] for (uint n = 0; n < LOADS_B; n++) {
        uvec2 at = item(lane + n * LOCAL, LINE_B, B_BY_K, k, start.y);
        uint groups = B_BY_K ? inside(at.x < k_end, p.n, at.y) : inside(at.x < p.n, k_end, at.y);
        next_b[n] = load8_b(b0 + at.x * p.ldb4 + at.y, groups);
    }
}

void keep(uint buffer_start) {
    [[unroll]] for (uint n = 0; n < LOADS_A; n++) {
        uint i = lane + n * LOCAL;
        if (i < TILE_M * STEP / 8) tiles[buffer_start + i / LINE_A * STRIDE_A + i % LINE_A] = next_a[n];
    }
    [[unroll]] for (uint n = 0; n < LOADS_B; n++) {
        uint i = lane + n * LOCAL;
        if (i < TILE_N * STEP / 8) tiles[buffer_start + SIZE_A + i / LINE_B * STRIDE_B + i % LINE_B] = next_b[n];
    }
}

void multiply(uint buffer_start, uvec2 own) {
    [[unroll]] for (uint k = 0; k < STEP; k += MAT_K) {
        FACTOR_B b_k[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
            uint column = own.y + j * MAT_N, at = buffer_start + SIZE_A;
            if (B_BY_K) coopMatLoad(b_k[j], tiles, at + k * STRIDE_B + column / 8, STRIDE_B, BY_ROWS);
            else coopMatLoad(b_k[j], tiles, at + column * STRIDE_B + k / 8, STRIDE_B, BY_COLUMNS);
        }
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            FACTOR_A a_k;
            uint row = own.x + i * MAT_M;
            if (A_BY_K) coopMatLoad(a_k, tiles, buffer_start + k * STRIDE_A + row / 8, STRIDE_A, BY_COLUMNS);
            else coopMatLoad(a_k, tiles, buffer_start + row * STRIDE_A + k / 8, STRIDE_A, BY_ROWS);
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) sums[i * COLUMNS + j] = coopMatMulAdd(a_k, b_k[j], sums[i * COLUMNS + j]);
        }
    }
}

void main() {
    uint down = (p.m + TILE_M - 1) / TILE_M, across = (p.n + TILE_N - 1) / TILE_N;
    uint z = flat_group() / (down * across);
    if (z >= p.matrices) return;
    select_matrix(z);
    uvec2 start = tile_at(flat_group() % (down * across), down, across) * uvec2(TILE_M, TILE_N);
    uvec2 own = uvec2(gl_SubgroupID / GRID_COLUMNS * ROWS * MAT_M, gl_SubgroupID % GRID_COLUMNS * COLUMNS * MAT_N);
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++)
        sums[i] = SUM(0.0);
    if (EXACT) find_first(start);
    fetch(k_start, start);
    keep(0);
    barrier();
    fetch(k_start + STEP, start);
    multiply(0, own);
    uint now = 0; // where in tiles the buffer starts
    for (uint k = k_start + STEP; k < k_end; k += STEP) {
        now = SIZE_A + SIZE_B - now;
        keep(now);
        barrier();
        fetch(k + STEP, start);
        multiply(now, own);
    }
    barrier();
    uint slice = gl_SubgroupID * SIZE_C;
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        [[unroll]] for (uint j = 0; j < COLUMNS; j++)
            coopMatStore(sums[i * COLUMNS + j], tiles, slice + j * MAT_N / 4, STRIDE_C, BY_ROWS);
        barrier();
        [[unroll]] for (uint s = 0; s < MAT_M * LINE_C; s += SUBGROUP) {
            uint n = s + gl_SubgroupInvocationID;
            if (MAT_M * LINE_C % SUBGROUP != 0 && n >= MAT_M * LINE_C) break;
            uint row = start.x + own.x + i * MAT_M + n / LINE_C, column4 = (start.y + own.y) / 4 + n % LINE_C;
            store4(row, column4, uintBitsToFloat(tiles[slice + n / LINE_C * STRIDE_C + n % LINE_C]), bias4(column4));
        }
        barrier();
    }
}
