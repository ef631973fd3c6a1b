// norm: partial sums of squares of gradients: partial[base + group] = (top, s), see lib/scaled.glsl.
// CHUNKS (chunks) of (off4, n4, class, segment): n4 groups of four values of G from group off4 on.
// Each workgroup strides over the chunks. Sums are compensated per invocation, then joined by a tree.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/scaled.glsl"
layout(push_constant) uniform P { uint chunks, base; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer G { V g[]; };
layout(binding = 2) writeonly buffer PARTIAL { uvec2 partial[]; };

void main() {
    uint top = 0;
    vec4 sum = vec4(0), lost = vec4(0);
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint first = chunk[c].x, end = first + chunk[c].y;
        for (uint i = first + lane; i < end; i += LOCAL) {
            vec4 x = ld4(g[i]);
            uvec4 bits = floatBitsToUint(x) & 0x7fffffffu;
            uint largest = max(max(bits.x, bits.y), max(bits.z, bits.w));
            if (largest > top) {
                float factor = rescale(scale_exponent(top), scale_exponent(largest));
                sum *= factor;
                lost *= factor;
                top = largest;
            }
            x *= pow2(-scale_exponent(top));
            kahan_add(sum, lost, x * x);
        }
    }
    uint group_top = reduce_max(top);
    sum = reduce_sum((sum - lost) * rescale(scale_exponent(top), scale_exponent(group_top)));
    if (lane == 0) partial[p.base + flat_group()] = uvec2(group_top, floatBitsToUint(sum.x + sum.y + sum.z + sum.w));
}
