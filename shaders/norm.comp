// norm: partial sums of squares of gradients: partial[base + group] = (top, s), see lib/scaled.glsl.
// CHUNKS (chunks) of (off4, n4, class, segment): n4 groups of four values of G from group off4 on.
// Each workgroup strides over the chunks, an invocation takes 8 groups at a time: unrolled, since a step costs much on
// processors. Sums are compensated from block to block, then joined by a tree.
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

const uint BLOCK = 8;

void main() {
    uint top = 0;
    vec4 sum = vec4(0), lost = vec4(0);
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint end = chunk[c].x + chunk[c].y;
        for (uint first = chunk[c].x + lane; first < end; first += LOCAL * BLOCK) {
            vec4 x[BLOCK];
            [[unroll]] for (uint k = 0, i = first; k < BLOCK; k++, i += LOCAL) {
                x[k] = vec4(0);
                if (i < end) x[k] = ld4(g[i]);
            }
            uvec4 largest4 = uvec4(0);
            [[unroll]] for (uint k = 0; k < BLOCK; k++) largest4 = max(largest4, floatBitsToUint(x[k]) & 0x7fffffffu);
            uint largest = max(max(max(largest4.x, largest4.y), max(largest4.z, largest4.w)), top);
            float factor = rescale(scale_exponent(top), scale_exponent(largest)), scale = pow2(-scale_exponent(largest));
            vec4 squares = vec4(0);
            [[unroll]] for (uint k = 0; k < BLOCK; k++) squares += (x[k] * scale) * (x[k] * scale);
            top = largest;
            sum *= factor;
            lost *= factor;
            kahan_add(sum, lost, squares);
        }
    }
    uint group_top = reduce_max(top);
    sum = reduce_sum((sum - lost) * rescale(scale_exponent(top), scale_exponent(group_top)));
    if (lane == 0) partial[p.base + flat_group()] = uvec2(group_top, floatBitsToUint(sum.x + sum.y + sum.z + sum.w));
}
