// unary: y = f(x), rows of stride4 groups of four values, n4 groups in all; FUNCTION is one of lib/functions.glsl. Y may be X.
// WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
layout(constant_id = 11) const uint PADDED = 0; // rows are padded, and f(0) is not 0
layout(push_constant) uniform P { uint n4, stride4, d; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) {
        vec4 v = function(load4(x, i));
        if (PADDED != 0) v = mix(vec4(0), v, lessThan(i % p.stride4 * 4 + uvec4(0, 1, 2, 3), uvec4(p.d)));
        y[i] = st4(v);
    }
}
