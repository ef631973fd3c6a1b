// swiglu: y = silu(gate) up, n4 groups of four values. Y may be GATE or UP. With PACKED both are one tensor, whose rows are row4
// groups of gate and then as many of up.
// WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
layout(constant_id = 11) const bool PACKED = false;
layout(push_constant) uniform P { uint n4, row4; } p;
INPUT(0, GATE, gate);
INPUT(1, UP, up);
layout(binding = 2) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) {
        uint g = PACKED ? i + i / p.row4 * p.row4 : i;
        y[i] = st4(silu(load4(gate, g)) * load4(up, PACKED ? g + p.row4 : i));
    }
}
