// copy: y = x, n4 groups of 16 bytes, as fast as it was found to go: one of the two yardsticks of bench.
// WORK groups per invocation, see lib/index.glsl.
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#ifdef WIDE
#define BITS BITS128
#else
#define BITS uvec4
#endif
layout(push_constant) uniform P { uint n4; } p;
layout(binding = 0) readonly buffer X { BITS x[]; };
layout(binding = 1) writeonly buffer Y { BITS y[]; };
void main() {
    for_flat(i, p.n4) y[i] = x[i];
}
