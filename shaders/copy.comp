// copy: y = x, n4 groups of 16 bytes. The yardstick that bench measures the other kernels by.
// WORK groups per invocation, see lib/index.glsl.
#version 450
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
layout(binding = 0) readonly buffer X { uvec4 x[]; };
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };
void main() {
    for_flat(i, p.n4) y[i] = x[i];
}
