// swiglu: y = silu(gate) up, n4 groups of four values. Y may be GATE or UP.
// WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, GATE, gate);
INPUT(1, UP, up);
layout(binding = 2) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) y[i] = st4(silu(load4(gate, i)) * load4(up, i));
}
