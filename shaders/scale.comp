// scale: y = s x, n4 groups of four values. Y may be X.
// One invocation per group of four, or fewer: they stride.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; float s; } p;
layout(binding = 0) readonly buffer X { V x[]; };
layout(binding = 1) writeonly buffer Y { V y[]; };
void main() {
    for (uint i = flat_index(); i < p.n4; i += flat_count()) y[i] = st4(ld4(x[i]) * p.s);
}
