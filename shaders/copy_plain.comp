// copy_plain: y = x, n4 groups of 16 bytes, one for each invocation: the copy that comes to mind first. bench measures the
// other kernels by it, and by the fastest one, kernel copy.
#version 450
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
layout(binding = 0) readonly buffer X { uvec4 x[]; };
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };
void main() {
    uint i = flat_index();
    if (i < p.n4) y[i] = x[i];
}
