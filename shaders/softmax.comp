// softmax: y[j] = exp(x[j] - M)/S with M = max x, S = sum_j exp(x[j] - M), for each row of v values. X, Y (n, v).
// Values of -inf give 0; a row with NaN or +inf, or of -inf alone, gives NaN, itself alone. Y may be X: an invocation writes
// only what it alone has read.
// One workgroup per row, or fewer: they stride. An invocation holds KEEP4 groups of four values in registers at a time: a row
// of at most KEEP4 LOCAL groups is read from memory once, a longer one twice.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
const uint KEEP4 = 8; // no specialization constant: SwiftShader would not unroll the loops
layout(push_constant) uniform P { uint n, v, stride4; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { V y[]; };

vec4 tile[KEEP4]; // group k is number start + lane + k LOCAL; -inf beyond the row

bvec4 beyond(uint group) { return greaterThanEqual(group * 4 + uvec4(0, 1, 2, 3), uvec4(p.v)); }

void load_tile(uint row, uint start) {
    [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
        tile[k] = vec4(-INFINITY);
        if (i < p.stride4) tile[k] = mix(load4(x, row + i), vec4(-INFINITY), beyond(i));
    }
}

// The maximum of the values seen so far and the sum of exp(x - top), four sets side by side; lost as in kahan_add.
vec4 top, sum, lost;

void add_tile() {
    vec4 larger = top, terms = vec4(0);
    [[unroll]] for (uint k = 0; k < KEEP4; k++) larger = max(larger, tile[k]); // a NaN may be dropped here, not in the sum
    vec4 reference = mix(larger, vec4(0), equal(larger, vec4(-INFINITY)));
    [[unroll]] for (uint k = 0; k < KEEP4; k++) terms += exp4(tile[k] - reference);
    vec4 factor = exp4(top - reference);
    sum *= factor;
    lost *= factor;
    kahan_add(sum, lost, terms);
    top = larger;
}

void write_tile(uint row, uint start, float m, float inverse) {
    [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
        vec4 e = exp4(tile[k] - m) * inverse;
        if (i < p.stride4) y[row + i] = st4(mix(e, vec4(0), beyond(i)));
    }
}

void main() {
    for (uint r = flat_group(); r < p.n; r += flat_groups()) {
        uint row = r * p.stride4, start = 0;
        top = vec4(-INFINITY);
        sum = lost = vec4(0);
        do {
            load_tile(row, start);
            add_tile();
            start += KEEP4 * LOCAL;
        } while (start < p.stride4);
        float m = reduce_max(max(max(top.x, top.y), max(top.z, top.w)));
        float inverse = 1.0 / reduce_sum(vec4(dot((sum - lost) * exp4(top - m), vec4(1)), 0, 0, 0)).x;
        start = 0;
        do {
            if (p.stride4 > KEEP4 * LOCAL) load_tile(row, start);
            write_tile(row, start, m, inverse);
            start += KEEP4 * LOCAL;
        } while (start < p.stride4);
    }
}
