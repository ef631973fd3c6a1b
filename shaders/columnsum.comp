// columnsum: y[m, r] = sum of the rows r * PER to r * PER + PER - 1 of x[m], for each block of PER rows; with accumulate, added
// to y[m, r]. X (matrices, rows, stride4 groups of four values), Y (matrices, rows / PER, rounded up, stride4). Repeated until
// one row is left, it is the sum over all rows by a tree. Variants x_y: X is x, Y is y.
// One invocation per group of a row of Y; neighbors read neighboring groups.
//types f32 f32_b16 b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(constant_id = 10) const uint PER = 128;
layout(push_constant) uniform P { uint matrices, rows, stride4, accumulate; } p;
INPUT(0, X, x);
layout(binding = 1) buffer Y { W y[]; };

const uint BLOCK = 8; // rows read at once, to have loads in flight

void main() {
    uint out_row = flat_index() / p.stride4, column = flat_index() % p.stride4;
    uint blocks = (p.rows + PER - 1) / PER, matrix = out_row / blocks;
    if (matrix >= p.matrices) return;
    uint row = matrix * p.rows + out_row % blocks * PER, end = min(row + PER, (matrix + 1) * p.rows);
    vec4 sum = vec4(0);
    for (; row + BLOCK <= end; row += BLOCK) {
        vec4 v[BLOCK];
        [[unroll]] for (uint i = 0; i < BLOCK; i++) v[i] = load4(x, (row + i) * p.stride4 + column);
        sum += ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
    }
    for (; row < end; row++) sum += load4(x, row * p.stride4 + column);
    if (p.accumulate != 0) sum += ld4_to(y[flat_index()]);
    y[flat_index()] = st4_to(sum);
}
