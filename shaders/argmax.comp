// argmax: y[r] = the first j with the largest x[r, j]; a NaN is larger than any number. X (n, d) of rows of stride4 groups of
// four values, Y (n), dense. One workgroup per row, or fewer: they stride.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(push_constant) uniform P { uint n, d, stride4; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { uint y[]; };

void main() {
    for (uint r = flat_group(); r < p.n; r += flat_groups()) {
        uint best = 0, at = 0; // no key is 0
        for (uint i = lane; i < p.stride4; i += LOCAL) {
            vec4 v = load4(x, r * p.stride4 + i);
            [[unroll]] for (uint c = 0; c < 4; c++) {
                uint key = order_key(v[c] == 0 ? 0.0 : v[c]); // -0 is 0
                if (i * 4 + c < p.d && key > best) {
                    best = key;
                    at = i * 4 + c;
                }
            }
        }
        uint most = reduce_max(best), first = ~reduce_max(best == most ? ~at : 0);
        if (lane == 0) y[r] = first;
    }
}
