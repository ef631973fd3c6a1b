// matmul_shared: C = alpha A B + bias, C (m, n); C += with ACCUMULATE; of a batch. See lib/matmul.glsl. A is (m, k), or (k, m)
// with A_BY_K; B is (k, n) with B_BY_K, or (n, k). Variants x_y: A and B are x, C is y.
// For GPUs: a workgroup of 256 has a tile of C of EDGE rows by EDGE columns, 128, 64 or 32, in registers: an invocation BLOCKS
// by BLOCKS blocks of 4 by 4, as far apart as the workgroup is wide, so that neighbors store neighboring groups. Of 32, four
// SLICES of 64 invocations have each the whole tile, take a quarter of each step's k, and add up at the end. A step is STEP
// values of k: tiles of A and B, a group for each invocation, go through shared memory, k by k, in two pages in turn, so that
// one barrier is enough; the next ones are loaded while these are multiplied. What lies outside the matrices is read from
// their edges: only beyond k is it made zero.
//types f32 b16 b16_f32
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
#define FUNCTIONS
#include "lib/matmul.glsl"
layout(constant_id = 10) const uint EDGE = 64;
layout(constant_id = 12) const bool A_BY_K = false;
layout(constant_id = 14) const bool B_BY_K = false;

const uint EDGE4 = EDGE / 4, STEP = 1024 / EDGE;
const uint BLOCKS = EDGE / 64 + (EDGE < 64 ? 1 : 0);
const uint SIDE = EDGE4 / BLOCKS; // invocations across, and down
const uint SLICES = 256 / (SIDE * SIDE);
shared vec4 tiles[1024]; // in each page STEP rows of A, then of B, each of EDGE4 groups: 16 KiB, which every device has

// Where group i of row kk lies. Those of a matrix that is not by k are written value by value, by invocations whose rows kk are
// four apart: the exclusive or puts these into different banks.
uint slot(uint page, uint of_b, uint kk, uint i) { return page * 512 + of_b * 256 + kk * EDGE4 + (i ^ kk / 4 * 32 / STEP); }

// The group of a step's tile that an invocation loads, and keeps: by k a row of k and a group of that; else a row and a group of k.
uvec2 place(bool by_k) { return by_k ? uvec2(lane / EDGE4, lane % EDGE4) : uvec2(lane / (STEP / 4), lane % (STEP / 4)); }

vec4 load_a(uint k, uint row) {
    uvec2 at = place(A_BY_K);
    uvec2 from = A_BY_K ? uvec2(min(k + at.x, p.k - 1), min(row / 4 + at.y, (p.m - 1) / 4)) : uvec2(min(row + at.x, p.m - 1), min(k / 4 + at.y, (p.k - 1) / 4));
    return load4(a, a0 + from.x * p.lda4 + from.y);
}

vec4 load_b(uint k, uint column) {
    uvec2 at = place(B_BY_K);
    uvec2 from = B_BY_K ? uvec2(min(k + at.x, p.k - 1), min(column / 4 + at.y, (p.n - 1) / 4)) : uvec2(min(column + at.x, p.n - 1), min(k / 4 + at.y, (p.k - 1) / 4));
    return load4(b, b0 + from.x * p.ldb4 + from.y);
}

void keep(bool by_k, uint page, uint of_b, uint k, vec4 x) {
    uvec2 at = place(by_k);
    if (k + (by_k ? at.x : 4 * at.y) >= k_end) x = vec4(0);
    if (by_k) tiles[slot(page, of_b, at.x, at.y)] = x;
    else [[unroll]] for (uint kk = 0; kk < 4; kk++) tiles[slot(page, of_b, 4 * at.y + kk, at.x / 4)][at.x % 4] = x[kk];
}

void main() {
    uvec2 grid = (uvec2(p.m, p.n) + EDGE - 1) / EDGE;
    uint z = flat_group() / (grid.x * grid.y);
    if (z >= p.matrices) return;
    select_matrix(z);
    uvec2 start = tile_at(flat_group() % (grid.x * grid.y), grid.x, grid.y) * EDGE;
    // Of 32 neighbors, four down by eight across read the fewest groups of shared memory.
    uint slice = SLICES > 1 ? lane / (SIDE * SIDE) : 0, block = lane % (SIDE * SIDE) / 32, page = 0;
    uint down = block / (SIDE / 8) * 4 + lane % 32 / 8, across = block % (SIDE / 8) * 8 + lane % 8;
    vec4 sum[4 * BLOCKS][BLOCKS];
    [[unroll]] for (uint r = 0; r < 4 * BLOCKS; r++)
        [[unroll]] for (uint j = 0; j < BLOCKS; j++) sum[r][j] = vec4(0);
    vec4 next_a = load_a(k_start, start.x), next_b = load_b(k_start, start.y);
    for (uint k = k_start; k < k_end; k += STEP) {
        keep(A_BY_K, page, 0, k, next_a);
        keep(B_BY_K, page, 1, k, next_b);
        barrier(); // and the page before this one has been read when it is written again, behind the next barrier
        next_a = load_a(k + STEP, start.x);
        next_b = load_b(k + STEP, start.y);
        for (uint first = 0; first < STEP / SLICES; first += 4) {
            [[unroll]] for (uint i = 0; i < 4; i++) {
                uint kk = slice * (STEP / SLICES) + first + i;
                vec4 a4[BLOCKS], b4[BLOCKS];
                [[unroll]] for (uint j = 0; j < BLOCKS; j++) a4[j] = tiles[slot(page, 0, kk, down) + SIDE * j];
                [[unroll]] for (uint j = 0; j < BLOCKS; j++) b4[j] = tiles[slot(page, 1, kk, across) + SIDE * j];
                [[unroll]] for (uint r = 0; r < 4 * BLOCKS; r++)
                    [[unroll]] for (uint j = 0; j < BLOCKS; j++) sum[r][j] += a4[r / 4][r % 4] * b4[j];
            }
        }
        page ^= 1;
    }
    if (SLICES > 1) { // each takes one row of each block, of all slices
        barrier();
        [[unroll]] for (uint r = 0; r < 4; r++) tiles[(slice * 4 + r) * 64 + lane % 64] = sum[r][0];
        barrier();
        vec4 x = vec4(0);
        [[unroll]] for (uint s = 0; s < SLICES; s++) x += tiles[(s * 4 + slice) * 64 + lane % 64];
        store4(start.x + 4 * down + slice, start.y / 4 + across, x, bias4(start.y / 4 + across));
        return;
    }
    [[unroll]] for (uint j = 0; j < BLOCKS; j++) {
        uint column4 = start.y / 4 + SIDE * j + across;
        vec4 bias = bias4(column4);
        [[unroll]] for (uint r = 0; r < 4 * BLOCKS; r++)
            store4(start.x + 4 * SIDE * (r / 4) + 4 * down + r % 4, column4, sum[r][j], bias);
    }
}
