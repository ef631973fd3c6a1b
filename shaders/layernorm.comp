// layernorm: y[r, j] = (x[r, j] - mean) w[j] / sqrt(variance + eps), with BIAS plus b[j]; mean and variance of row r.
// X, Y (n, d), W, B (d); rows of stride4 groups of four values. Y may be X: an invocation writes only what it alone has read.
// x - mean is (x - shift) - mean(x - shift), with shift the mean as f32 rounds it. The second mean is tiny, but it takes the
// rounding of a mean far from 0 out of variance and result.
// A workgroup takes per neighboring rows, see lib/rows.glsl.
//types
//wide
//types long: -DLONG
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(constant_id = 14) const uint BIAS = 0;
layout(push_constant) uniform P { uint n, d, stride4, per; float eps; } p;
INPUT(0, X, x);
INPUT(1, WEIGHT, w);
INPUT(2, B, b);
layout(binding = 3) writeonly buffer Y { V y[]; };
#include "lib/rows.glsl"

vec4 x4[KEEP4], w4[KEEP4], b4[KEEP4];

void load_parameters(uint start) {
    load_tile(w4, w, 0, start);
    if (BIAS != 0) load_tile(b4, b, 0, start)
    else [[unroll]] for (uint k = 0; k < KEEP4; k++) b4[k] = vec4(0);
}

void main() {
    if (WHOLE) load_parameters(0);
    uint end = min((flat_group() + 1) * p.per, p.n);
    for (uint r = flat_group() * p.per; r < end; r++) {
        uint first = r * p.stride4, start = 0;
        vec4 values = vec4(0), rest = vec4(0), squares = vec4(0);
        do {
            load_tile(x4, x, first, start);
            values += tile_sum(x4);
        } while (more_tiles(start));
        float shift = reduce_sum(dot(values, vec4(1))) / float(p.d);
        start = 0;
        do {
            if (!WHOLE) load_tile(x4, x, first, start);
            shift_tile(x4, shift, start);
            rest += tile_sum(x4);
            squares += tile_dot(x4, x4);
        } while (more_tiles(start));
        vec2 mean = reduce_sum(vec2(dot(rest, vec4(1)), dot(squares, vec4(1)))) / float(p.d);
        float inverse = 1.0 / sqrt(max(mean.y - mean.x * mean.x, 0) + p.eps);
        start = 0;
        do {
            if (!WHOLE) {
                load_tile(x4, x, first, start);
                shift_tile(x4, shift, start);
                load_parameters(start);
            }
            for_tile(k, i, start) y[first + i] = st4(unpadded(i, (x4[k] - mean.x) * inverse * w4[k] + b4[k]));
        } while (more_tiles(start));
    }
}
