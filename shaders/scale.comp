// scale: y = s x, n4 groups of four values. Y may be X.
// WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; float s; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) y[i] = st4(load4(x, i) * p.s);
}
