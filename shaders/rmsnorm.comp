// rmsnorm: y[r, j] = x[r, j] w[j] / sqrt(mean over j of x[r, j]^2 + eps).
// X, Y (n, d), W (d); rows of stride4 groups of four values. Y may be X: an invocation writes only what it alone has read.
// A workgroup takes per neighboring rows, see lib/rows.glsl.
//types
//wide
//types long: -DLONG
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(push_constant) uniform P { uint n, d, stride4, per; float eps; } p;
INPUT(0, X, x);
INPUT(1, WEIGHT, w);
layout(binding = 2) writeonly buffer Y { V y[]; };
#include "lib/rows.glsl"
layout(constant_id = 16) const bool WEIGHTED = true; // else WEIGHT is not used, as if it were 1

vec4 x4[KEEP4], w4[KEEP4];

void load_weight(uint start) {
    if (WEIGHTED) { load_tile(w4, w, 0, start) }
    else [[unroll]] for (uint k = 0; k < KEEP4; k++) w4[k] = vec4(1);
}

void main() {
    if (WHOLE) load_weight(0);
    uint end = min((flat_group() + 1) * p.per, p.n);
    for (uint r = flat_group() * p.per; r < end; r++) {
        uint first = r * p.stride4, start = 0;
        vec4 squares = vec4(0);
        do {
            load_tile(x4, x, first, start);
            squares += tile_dot(x4, x4);
        } while (more_tiles(start));
        float inverse = 1.0 / sqrt(reduce_sum(dot(squares, vec4(1))) / float(p.d) + p.eps);
        start = 0;
        do {
            if (!WHOLE) {
                load_tile(x4, x, first, start);
                load_weight(start);
            }
            for_tile(k, i, start) y[first + i] = st4(unpadded(i, x4[k] * inverse * w4[k]));
        } while (more_tiles(start));
    }
}
