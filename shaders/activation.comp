// activation: y = f(x), n4 groups of four values; the functions are in lib/activations.glsl. Y may be X.
// WORK groups per invocation, see lib/index.glsl.
//variant silu_f32: -DF=silu
//variant silu_f16: -DF=silu -DF16
//variant silu_bf16: -DF=silu -DBF16
//variant gelu_f32: -DF=gelu
//variant gelu_f16: -DF=gelu -DF16
//variant gelu_bf16: -DF=gelu -DBF16
//variant gelu_tanh_f32: -DF=gelu_tanh
//variant gelu_tanh_f16: -DF=gelu_tanh -DF16
//variant gelu_tanh_bf16: -DF=gelu_tanh -DBF16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/activations.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, X, x);
layout(binding = 1) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) y[i] = st4(F(load4(x, i)));
}
