// batch: b windows of m tokens out of n, and the same moved on by one: x[r] = tokens[i : i + m], y[r] = tokens[i + 1 : i + m + 1].
// The start i of row r is uniform over all n - m windows: (u (n - m)) >> 64 with u the words 1 and 0 of
// philox4x32(counter = (k_lo, k_hi, r, rank), key = seed): a pure function of seed, batch number k, row and rank.
// X, Y (b, m) dense i32. WORK tokens per invocation, see lib/index.glsl.
#version 450
#include "lib/index.glsl"
#include "lib/philox.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint b, m, n, seed_lo, seed_hi; } p;
layout(binding = 0) readonly buffer TOKENS { uint tokens[]; };
layout(binding = 1) readonly buffer CTRL { uint k_lo, k_hi, rank, unused; } c;
layout(binding = 2) writeonly buffer X { uint x[]; };
layout(binding = 3) writeonly buffer Y { uint y[]; };

uint start(uint row) {
    uvec4 u = philox4x32(uvec4(c.k_lo, c.k_hi, row, c.rank), uvec2(p.seed_lo, p.seed_hi));
    uint windows = p.n - p.m, high_of_low, high, low, unused;
    umulExtended(u.x, windows, high_of_low, unused);
    umulExtended(u.y, windows, high, low);
    return high + uint(low + high_of_low < low); // the carry of the sum
}

void main() {
    uint n = p.b * p.m;
    for_flat(i, n) {
        uint from = start(i / p.m) + i % p.m;
        x[i] = load_id(tokens, from);
        y[i] = load_id(tokens, from + 1);
    }
}
