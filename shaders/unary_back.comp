// unary_back: dx = f'(x) dy, rows of stride4 groups of four values, n4 groups in all; FUNCTION is one of lib/functions.glsl. DX
// may be X or DY. WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
layout(constant_id = 11) const uint PADDED = 0; // rows are padded, and f'(0) is not finite
layout(push_constant) uniform P { uint n4, stride4, d; } p;
INPUT(0, X, x);
INPUT(1, DY, dy);
layout(binding = 2) writeonly buffer DX { V dx[]; };
void main() {
    for_flat(i, p.n4) {
        vec4 v = slope(load4(x, i)) * load4(dy, i);
        if (PADDED != 0) v = mix(vec4(0), v, lessThan(i % p.stride4 * 4 + uvec4(0, 1, 2, 3), uvec4(p.d)));
        dx[i] = st4(v);
    }
}
