// softmax_back: dx[j] = y[j] (dy[j] - sum_k y[k] dy[k]), for each row of v values. Y, DY, DX (n, v). DX may be Y or DY.
// One workgroup per row, or fewer: they stride. An invocation holds KEEP4 groups of four values of Y and DY in registers at a
// time: a row of at most KEEP4 LOCAL groups is read from memory once, a longer one twice.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
const uint KEEP4 = 8; // no specialization constant: SwiftShader would not unroll the loops
layout(push_constant) uniform P { uint n, v, stride4; } p;
INPUT(0, Y, y);
INPUT(1, DY, dy);
layout(binding = 2) writeonly buffer DX { V dx[]; };

vec4 y_tile[KEEP4], dy_tile[KEEP4]; // group k is number start + lane + k LOCAL; 0 beyond the row

void load_tile(uint row, uint start) {
    [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
        y_tile[k] = dy_tile[k] = vec4(0);
        if (i < p.stride4) {
            y_tile[k] = load4(y, row + i);
            dy_tile[k] = load4(dy, row + i);
        }
    }
}

void write_tile(uint row, uint start, float mean) {
    [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
        bvec4 beyond = greaterThanEqual(i * 4 + uvec4(0, 1, 2, 3), uvec4(p.v)); // where a NaN in the mean must not go
        vec4 d = y_tile[k] * (dy_tile[k] - mean);
        if (i < p.stride4) dx[row + i] = st4(mix(d, vec4(0), beyond));
    }
}

void main() {
    for (uint r = flat_group(); r < p.n; r += flat_groups()) {
        uint row = r * p.stride4, start = 0;
        vec4 sum = vec4(0), lost = vec4(0);
        do {
            load_tile(row, start);
            vec4 terms = vec4(0);
            [[unroll]] for (uint k = 0; k < KEEP4; k++) terms += y_tile[k] * dy_tile[k];
            kahan_add(sum, lost, terms);
            start += KEEP4 * LOCAL;
        } while (start < p.stride4);
        float mean = reduce_sum(vec4(dot(sum - lost, vec4(1)), 0, 0, 0)).x;
        start = 0;
        do {
            if (p.stride4 > KEEP4 * LOCAL) load_tile(row, start);
            write_tile(row, start, mean);
            start += KEEP4 * LOCAL;
        } while (start < p.stride4);
    }
}
