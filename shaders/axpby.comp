// axpby: z = a x + b y, n4 groups of four values. Z may be X or Y.
// WORK groups per invocation, see lib/index.glsl.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; float a, b; } p;
INPUT(0, X, x);
INPUT(1, Y, y);
layout(binding = 2) writeonly buffer Z { V z[]; };
void main() {
    for_flat(i, p.n4) z[i] = st4(p.a * load4(x, i) + p.b * load4(y, i));
}
