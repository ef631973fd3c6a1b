// copy: y = x, n4 groups of 16 bytes. The yardstick that bench measures the other kernels by.
// One invocation per group of four, or fewer: they stride.
#version 450
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
layout(binding = 0) readonly buffer X { uvec4 x[]; };
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };
void main() {
    for (uint i = flat_index(); i < p.n4; i += flat_count()) y[i] = x[i];
}
