// columnsum: y[m, r] = sum of the rows r * PER to r * PER + PER - 1 of x[m], for each block of PER rows; with accumulate, added
// to y[m, r]. X (matrices, rows, stride4 groups of four values), Y (matrices, rows / PER, rounded up, stride4). Repeated until
// one row is left, it is the sum over all rows by a tree. With LISTED the same for each of the `sums` in LIST: X and Y of one
// begin at groups x0 and y0, its invocations at `first`. Variants x_y: X is x, Y is y.
// One invocation per group of a row of Y; neighbors read neighboring groups.
//types f32 f32_b16 b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(constant_id = 10) const uint PER = 128;
layout(constant_id = 11) const bool LISTED = false;
struct Sums { uint matrices, rows, stride4, accumulate, x0, y0, first, sums; };
layout(push_constant) uniform P { Sums all; } p;
INPUT(0, X, x);
layout(binding = 1) readonly buffer LIST { Sums list[]; };
layout(binding = 2) buffer Y { W y[]; };

const uint BLOCK = 8; // rows read at once, to have loads in flight

// The last one of the list that begins at invocation i or before.
Sums find(uint i) {
    uint from = 0, to = p.all.sums;
    while (to - from > 1) {
        uint middle = (from + to) / 2;
        if (list[middle].first <= i) from = middle;
        else to = middle;
    }
    return list[from];
}

void main() {
    Sums s = p.all;
    if (LISTED) s = find(flat_index());
    uint i = flat_index() - s.first, out_row = i / s.stride4, column = s.x0 + i % s.stride4;
    uint blocks = (s.rows + PER - 1) / PER, matrix = out_row / blocks;
    if (matrix >= s.matrices) return;
    uint row = matrix * s.rows + out_row % blocks * PER, end = min(row + PER, (matrix + 1) * s.rows);
    vec4 sum = vec4(0);
    for (; row + BLOCK <= end; row += BLOCK) {
        vec4 v[BLOCK];
        [[unroll]] for (uint r = 0; r < BLOCK; r++) v[r] = load4(x, (row + r) * s.stride4 + column);
        sum += ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
    }
    for (; row < end; row++) sum += load4(x, row * s.stride4 + column);
    if (s.accumulate != 0) sum += ld4_to(y[s.y0 + i]);
    y[s.y0 + i] = st4_to(sum);
}
