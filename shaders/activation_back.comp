// activation_back: dx = f'(x) dy, n4 groups of four values; the functions are in lib/activations.glsl. DX may be X or DY.
// WORK groups per invocation, see lib/index.glsl.
//variant silu_f32: -DSLOPE=silu_slope
//variant silu_f16: -DSLOPE=silu_slope -DF16
//variant silu_bf16: -DSLOPE=silu_slope -DBF16
//variant gelu_f32: -DSLOPE=gelu_slope
//variant gelu_f16: -DSLOPE=gelu_slope -DF16
//variant gelu_bf16: -DSLOPE=gelu_slope -DBF16
//variant gelu_tanh_f32: -DSLOPE=gelu_tanh_slope
//variant gelu_tanh_f16: -DSLOPE=gelu_tanh_slope -DF16
//variant gelu_tanh_bf16: -DSLOPE=gelu_tanh_slope -DBF16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/activations.glsl"
layout(push_constant) uniform P { uint n4; } p;
INPUT(0, X, x);
INPUT(1, DY, dy);
layout(binding = 2) writeonly buffer DX { V dx[]; };
void main() {
    for_flat(i, p.n4) dx[i] = st4(SLOPE(load4(x, i)) * load4(dy, i));
}
