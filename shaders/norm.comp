// norm: partial sums of squares of gradients: partial[base + group] = (top, s), see lib/scaled.glsl.
// CHUNKS (chunks) of (off4, n4, class, segment): n4 groups of four values of G from group off4 on.
// Each workgroup strides over the chunks, an invocation takes up to 32 groups at a time: unrolled, since a step costs
// much on processors. Sums are compensated from block to block, then joined by a tree.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/scaled.glsl"
layout(push_constant) uniform P { uint chunks, base; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer G { V g[]; };
layout(binding = 2) writeonly buffer PARTIAL { uvec2 partial[]; };

const uint BLOCK = 32;

// A block whose squares sum to something between these needs no scaling: nothing overflowed, and what underflowed, or is
// dropped beside it by rescale, is below 2^-30 of it. Such blocks are summed as if their largest value were 1.
const float SMALL = 8.67361738e-19 /* 2^-60 */, LARGE = 1.09951163e12 /* 2^40 */;
const uint ONE = 0x3f800000u;

void main() {
    uint top = 0;
    vec4 sum = vec4(0), lost = vec4(0), plain = vec4(0), plain_lost = vec4(0);
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint end = chunk[c].x + chunk[c].y;
        for (uint first = chunk[c].x + lane; first < end; first += LOCAL * BLOCK) {
            vec4 squares = vec4(0);
            [[unroll]] for (uint k = 0, i = first; k < BLOCK; k++, i += LOCAL) {
                vec4 x = vec4(0);
                if (i < end) x = ld4(g[i]);
                squares += x * x;
            }
            float size = squares.x + squares.y + squares.z + squares.w;
            if (size >= SMALL && size <= LARGE) {
                kahan_add(plain, plain_lost, squares);
                continue;
            }
            uvec4 largest4 = uvec4(0);
            uint last = min(first + LOCAL * BLOCK, end);
            for (uint i = first; i < last; i += LOCAL) largest4 = max(largest4, floatBitsToUint(ld4(g[i])) & 0x7fffffffu);
            uint largest = max(max(max(largest4.x, largest4.y), max(largest4.z, largest4.w)), top);
            float factor = rescale(scale_exponent(top), scale_exponent(largest)), scale = pow2(-scale_exponent(largest));
            squares = vec4(0);
            for (uint i = first; i < last; i += LOCAL) {
                vec4 x = ld4(g[i]) * scale;
                squares += x * x;
            }
            top = largest;
            sum *= factor;
            lost *= factor;
            kahan_add(sum, lost, squares);
        }
    }
    bool has_plain = plain != vec4(0);
    uint group_top = reduce_max(max(top, has_plain ? ONE : 0));
    sum = (sum - lost) * rescale(scale_exponent(top), scale_exponent(group_top));
    if (has_plain) sum += (plain - plain_lost) * rescale(scale_exponent(ONE), scale_exponent(group_top));
    sum = reduce_sum(sum);
    if (lane == 0) partial[p.base + flat_group()] = uvec2(group_top, floatBitsToUint(sum.x + sum.y + sum.z + sum.w));
}
