// matmul_coop: C = alpha A B + bias, C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl. A is (m, k), or (k, m)
// with A_BY_K; B is (k, n) with B_BY_K, or (n, k). Variants x_y: A and B are x, C is y; sums are f32.
// For devices with matrix cores: a subgroup multiplies matrices of MAT_M by MAT_K and MAT_K by MAT_N values, shapes that the
// device lists. It has ROWS by COLUMNS of them of C in registers, and a workgroup GRID_ROWS by GRID_COLUMNS subgroups. STEP
// values of k at a time go through shared memory: while they are multiplied the next ones are on their way to registers. One
// buffer, not two, lets more workgroups share a core, one of which multiplies while another waits: on an H200 that is 1.6 times
// as fast. Values keep the order in which they lie in memory, eight to a group; matrices are read from there by rows or
// by columns. What lies outside A and B along k is zero; what lies outside them along m and n is any, and not stored.
// The first product stands before the loop: sums that a product made lie in registers as the next one wants them, and Mesa's
// compiler for NVIDIA would move zeros there in each pass. For the same reason all loops over sums have constant bounds.
// Variants f16split and bf16split have A, B and C in f32: a factor is cut into PIECES of 16 bits, x near x1 + x2 with x1 that
// nearest to x and x2 that nearest to the rest, and the product is x1 y1 + (x1 y2 + x2 y1): of bf16 about 16 bits of each factor
// count, where TF32 has 11. An infinite factor makes NaN.
//newer
//types f16 bf16 f16_f32 bf16_f32 f16split bf16split
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#ifdef B16
#include "lib/functions.glsl"
#define FUNCTIONS
#endif
#include "lib/matmul.glsl"
#include "lib/coop.glsl"
layout(constant_id = 10) const uint ROWS = 4;
layout(constant_id = 11) const uint COLUMNS = 2;
layout(constant_id = 12) const bool A_BY_K = false;
layout(constant_id = 14) const bool B_BY_K = false;
layout(constant_id = 35) const uint GRID_ROWS = 2;
layout(constant_id = 36) const uint GRID_COLUMNS = 4;
layout(constant_id = 38) const bool WHOLE_STEPS = false; // k and its parts are multiples of STEP
layout(constant_id = 39) const uint STEP = 32;

// Eight values of a factor, as two groups of four. In 16 bits they may be read at once, from the buffers as groups of eight, and
// are kept as they are; of f32 each piece is kept.
struct Eight { V x, y; };
#ifdef B16
layout(constant_id = 37) const bool ALIGNED8 = false; // rows and matrices of A and B start at multiples of eight values
layout(binding = 0) readonly buffer A8 { uvec4 a8[]; };
layout(binding = 1) readonly buffer B8 { uvec4 b8[]; };
#define AT_ONCE(x, i) return Eight(x##8[i].xy, x##8[i].zw)
const uint PIECES = 1;
uvec4 piece(inout Eight e) { return uvec4(e.x, e.y); }
#else
const bool ALIGNED8 = false;
#define AT_ONCE(x, i)
layout(constant_id = 40) const uint PIECES = 2;
#if IS_BF16
#define round4 bf16_st4
#define value4 bf16_ld4
#else
#define round4 f16_st4
#define value4 f16_ld4
#endif
uvec4 piece(inout Eight e) { // and e is the rest
    uvec2 x = round4(e.x), y = round4(e.y);
    e = Eight(e.x - value4(x), e.y - value4(y));
    return uvec4(x, y);
}
#endif

const uint SUBGROUP = LOCAL / (GRID_ROWS * GRID_COLUMNS);
const uint TILE_M = GRID_ROWS * ROWS * MAT_M, TILE_N = GRID_COLUMNS * COLUMNS * MAT_N; // of C, per workgroup
// Rows of shared memory end in a group that shifts the next one to other banks.
const uint LINE_A = (A_BY_K ? TILE_M : STEP) / 8, STRIDE_A = LINE_A + 1, SIZE_A = (A_BY_K ? STEP : TILE_M) * STRIDE_A;
const uint LINE_B = (B_BY_K ? TILE_N : STEP) / 8, STRIDE_B = LINE_B + 1, SIZE_B = (B_BY_K ? STEP : TILE_N) * STRIDE_B;
const uint LINE_C = COLUMNS * MAT_N / 4, STRIDE_C = LINE_C + 1, SIZE_C = MAT_M * STRIDE_C; // a row of matrices of C, f32
const uint INPUTS = PIECES * (SIZE_A + SIZE_B); // the pieces of A, then those of B
const uint OUTPUTS = GRID_ROWS * GRID_COLUMNS * SIZE_C;
shared uvec4 tiles[INPUTS > OUTPUTS ? INPUTS : OUTPUTS];

const uint LOADS_A = (TILE_M * STEP / 8 + LOCAL - 1) / LOCAL, LOADS_B = (TILE_N * STEP / 8 + LOCAL - 1) / LOCAL;
Eight next_a[LOADS_A], next_b[LOADS_B];

SUM sums[ROWS * COLUMNS];

// Where A and B have the items of this invocation at k_start, in loads: of two groups of four, or of one.
const uint LOAD4 = ALIGNED8 ? 2 : 1;
uint first_a[LOADS_A], first_b[LOADS_B];

// The line of item i of a tile, which is group i % line of it. Of lines of four groups a subgroup keeps those that are four apart
// at once, since they lie in different banks: 0 4 1 5 2 6 3 7.
uint line_of(uint i, uint line) {
    uint at = i / line;
    return line == 4 ? (at & ~7u) | (at & 1u) << 2 | (at >> 1 & 3u) : at;
}

// Where item i of a tile is in its matrix. Behind the last of `size` rows or columns the last stands for them.
uint item(uint i, uint line, bool by_k, uint start, uint size, uint ld4) {
    uint at = line_of(i, line), group4 = i % line * 2;
    if (by_k) return (k_start + at) * ld4 + min(start / 4 + group4, (size - 1) / 8 * 2);
    return min(start + at, size - 1) * ld4 + k_start / 4 + group4;
}

void find_first(uvec2 start) {
    [[unroll]] for (uint n = 0; n < LOADS_A; n++) first_a[n] = (a0 + item(lane + n * LOCAL, LINE_A, A_BY_K, start.x, p.m, p.lda4)) / LOAD4;
    [[unroll]] for (uint n = 0; n < LOADS_B; n++) first_b[n] = (b0 + item(lane + n * LOCAL, LINE_B, B_BY_K, start.y, p.n, p.ldb4)) / LOAD4;
}

// An item at load i of a matrix that ends before group of four `end`; and which of its groups are before k_end, of item n at k.
#define LOAD8(x)                                                             \
    Eight load8_##x(uint i, uint end) {                                      \
        if (ALIGNED8) AT_ONCE(x, i);                                         \
        return Eight(x[i], x[min(i + 1, end - 1)]);                          \
    }
LOAD8(a)
LOAD8(b)
bvec2 before_end(uint n, uint line, bool by_k, uint k) {
    uint i = lane + n * LOCAL;
    return lessThan(by_k ? uvec2(k + line_of(i, line)) : k + i % line * 8 + uvec2(0, 4), uvec2(k_end));
}

void fetch(uint k) {
    if (WHOLE_STEPS) k = min(k, k_end - STEP); // behind the last any
    uint on = k - k_start, on_a = (A_BY_K ? on * p.lda4 : on / 4) / LOAD4, on_b = (B_BY_K ? on * p.ldb4 : on / 4) / LOAD4;
    uint end_a = a0 + (A_BY_K ? p.k : p.m) * p.lda4, end_b = b0 + (B_BY_K ? p.k : p.n) * p.ldb4;
    if (WHOLE_STEPS || k + STEP <= k_end) {
        [[unroll]] for (uint n = 0; n < LOADS_A; n++) next_a[n] = load8_a(first_a[n] + on_a, end_a);
        [[unroll]] for (uint n = 0; n < LOADS_B; n++) next_b[n] = load8_b(first_b[n] + on_b, end_b);
        return;
    }
    [[unroll]] for (uint n = 0; n < LOADS_A; n++) {
        bvec2 there = before_end(n, LINE_A, A_BY_K, k);
        next_a[n] = Eight(V(0), V(0));
        uint i = (first_a[n] + on_a) * LOAD4;
        if (there.x) next_a[n].x = a[i];
        if (there.y) next_a[n].y = a[min(i + 1, end_a - 1)];
    }
    [[unroll]] for (uint n = 0; n < LOADS_B; n++) {
        bvec2 there = before_end(n, LINE_B, B_BY_K, k);
        next_b[n] = Eight(V(0), V(0));
        uint i = (first_b[n] + on_b) * LOAD4;
        if (there.x) next_b[n].x = b[i];
        if (there.y) next_b[n].y = b[min(i + 1, end_b - 1)];
    }
}

void keep() {
    [[unroll]] for (uint n = 0; n < LOADS_A; n++) {
        uint i = lane + n * LOCAL, at = line_of(i, LINE_A) * STRIDE_A + i % LINE_A;
        if (i < TILE_M * STEP / 8) {
            [[unroll]] for (uint x = 0; x < PIECES; x++) tiles[x * SIZE_A + at] = piece(next_a[n]);
        }
    }
    [[unroll]] for (uint n = 0; n < LOADS_B; n++) {
        uint i = lane + n * LOCAL, at = PIECES * SIZE_A + line_of(i, LINE_B) * STRIDE_B + i % LINE_B;
        if (i < TILE_N * STEP / 8) {
            [[unroll]] for (uint x = 0; x < PIECES; x++) tiles[x * SIZE_B + at] = piece(next_b[n]);
        }
    }
}

// The products of pieces that start there.
void multiply_pieces(uint start_a, uint start_b, uvec2 own) {
    [[unroll]] for (uint k = 0; k < STEP; k += MAT_K) {
        if (k > 0) subgroupBarrier(); // or NVIDIA's compiler loads what comes later first, and takes 1.14 times as long
        FACTOR_B b_k[COLUMNS];
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) {
            uint column = own.y + j * MAT_N;
            if (B_BY_K) coopMatLoad(b_k[j], tiles, start_b + k * STRIDE_B + column / 8, STRIDE_B, BY_ROWS);
            else coopMatLoad(b_k[j], tiles, start_b + column * STRIDE_B + k / 8, STRIDE_B, BY_COLUMNS);
        }
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            FACTOR_A a_k;
            uint row = own.x + i * MAT_M;
            if (A_BY_K) coopMatLoad(a_k, tiles, start_a + k * STRIDE_A + row / 8, STRIDE_A, BY_COLUMNS);
            else coopMatLoad(a_k, tiles, start_a + row * STRIDE_A + k / 8, STRIDE_A, BY_ROWS);
            [[unroll]] for (uint j = 0; j < COLUMNS; j++) sums[i * COLUMNS + j] = coopMatMulAdd(a_k, b_k[j], sums[i * COLUMNS + j]);
        }
    }
}

void multiply(uvec2 own) {
    uint start_b = PIECES * SIZE_A;
    if (PIECES == 2) { // the smaller products first
        multiply_pieces(0, start_b + SIZE_B, own);
        multiply_pieces(SIZE_A, start_b, own);
    }
    multiply_pieces(0, start_b, own);
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
    find_first(start);
    fetch(k_start);
    keep();
    barrier();
    fetch(k_start + STEP);
    multiply(own);
    for (uint k = k_start + STEP; k < k_end; k += STEP) {
        barrier();
        keep();
        barrier();
        fetch(k + STEP);
        multiply(own);
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
