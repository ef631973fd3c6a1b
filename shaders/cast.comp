// cast: y = x in another storage type, rounded to nearest even; n4 groups of four values.
// WORK groups per invocation, see lib/index.glsl.
//variant f32_f16: -DTO_F16
//variant f32_bf16: -DTO_BF16
//variant f16_f32: -DF16
//variant f16_bf16: -DF16 -DTO_BF16
//variant bf16_f32: -DBF16
//variant bf16_f16: -DBF16 -DTO_F16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { W y[]; };
void main() {
    for_flat(i, p.n4) y[i] = st4_to(load4(x, i));
}
