// addto: y = y + x, y in f32 and x in a 16-bit type; n4 groups of four values.
// WORK groups per invocation, see lib/index.glsl.
//types b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, X, x);
INOUT_F32(1, Y, y);
void main() {
    for_flat(i, p.n4) y[i] = stf(loadf(y, i) + load4(x, i));
}
