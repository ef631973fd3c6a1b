// copy: y = x, n4 groups of 16 bytes, as fast as it was found to go: one of the two yardsticks of bench.
// WORK groups per invocation, see lib/index.glsl.
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) y[i] = bits4(x, i);
}
