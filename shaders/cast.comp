// cast: y = x in another storage type, rounded to nearest even; n4 groups of four values.
// WORK groups per invocation, see lib/index.glsl.
//types f32_b16 b16_f32 b16_b16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { W y[]; };
void main() {
    for_flat(i, p.n4) y[i] = st4_to(load4(x, i));
}
