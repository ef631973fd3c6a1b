// norm: partial sums of squares of gradients: partial[base + group] = (top, s), see lib/scaled.glsl.
// CHUNKS (chunks) of (off4, n4, class, moments4): n4 groups of four values of G from group off4 on.
// Workgroups stride over the chunks. An invocation compensates its sum every 32 items; then a tree joins the sums.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/scaled.glsl"
layout(push_constant) uniform P { uint chunks, base; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 2) writeonly buffer PARTIAL { uvec2 partial[]; };

// An item is a group of four values of G. In a storage buffer it is 16 bytes, of 16-bit values two groups: SwiftShader takes
// as long for an address as for a word. Parameters start at an item, and behind one with an odd number of groups are zeros.
#if defined(B16) && !defined(WIDE)
const uint ITEM4 = 2;
layout(binding = 1) readonly buffer G { uvec4 g[]; };
vec4 squares(uint i, vec4 scale) {
    uvec4 w = g[i];
    vec4 a = ld4(w.xy) * scale, b = ld4(w.zw) * scale;
    return a * a + b * b;
}
uvec4 bits(uint i) {
    uvec4 w = g[i];
    return max(floatBitsToUint(ld4(w.xy)) & 0x7fffffffu, floatBitsToUint(ld4(w.zw)) & 0x7fffffffu);
}
#else
const uint ITEM4 = 1;
INPUT(1, G, g);
vec4 squares(uint i, vec4 scale) {
    vec4 a = load4(g, i) * scale;
    return a * a;
}
uvec4 bits(uint i) { return floatBitsToUint(load4(g, i)) & 0x7fffffffu; }
#endif

const uint UNROLL = 8;
const uint BLOCK = 32 / UNROLL; // unrolled passes whose squares are added up before kahan_add takes them

// The squares of most chunks can be added up as they are. Where an invocation's sum of a chunk is between SMALL and LARGE, no
// square overflowed, and the squares that underflowed are less than 2^-30 of it; so are other sums that rescale drops beside
// it. plain adds up these sums as if their largest value were 1 (top is ONE, so the exponent is 0). A chunk with another sum
// is read again, for its largest value and then for its squares scaled by that.
const float SMALL = 8.67361738e-19 /* 2^-60 */, LARGE = 1.09951163e12 /* 2^40 */;
const uint ONE = 0x3f800000u;

void main() {
    uint top = 0;
    vec4 sum = vec4(0), lost = vec4(0), plain = vec4(0), plain_lost = vec4(0);
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint first = chunk[c].x / ITEM4 + lane, i = first;
        uint items = (chunk[c].y + ITEM4 - 1) / ITEM4, end = chunk[c].x / ITEM4 + items;
        precise vec4 total = vec4(0), total_lost = vec4(0);
        for (uint turns = items / (LOCAL * UNROLL); turns > 0;) {
            vec4 block = vec4(0);
            uint some = min(turns, BLOCK);
            turns -= some;
            do {
                [[unroll]] for (uint k = 0; k < UNROLL; k++, i += LOCAL) block += squares(i, vec4(1));
            } while (--some > 0);
            kahan_add_finite(total, total_lost, block);
        }
        vec4 rest = vec4(0);
        for (; i < end; i += LOCAL) rest += squares(i, vec4(1));
        kahan_add_finite(total, total_lost, rest);
        total -= total_lost;
        float size = total.x + total.y + total.z + total.w;
        if (size >= SMALL && size <= LARGE) {
            kahan_add(plain, plain_lost, total);
            continue;
        }
        uvec4 largest4 = uvec4(0);
        for (i = first; i < end; i += LOCAL) largest4 = max(largest4, bits(i));
        uint largest = max(max(max(largest4.x, largest4.y), max(largest4.z, largest4.w)), top);
        float factor = rescale(scale_exponent(top), scale_exponent(largest)), scale = pow2(-scale_exponent(largest));
        sum *= factor;
        lost *= factor;
        for (i = first; i < end; i += LOCAL) kahan_add(sum, lost, squares(i, vec4(scale)));
        top = largest;
    }
    bool has_plain = plain != vec4(0);
    uint group_top = reduce_max(max(top, has_plain ? ONE : 0));
    sum = (sum - lost) * rescale(scale_exponent(top), scale_exponent(group_top));
    if (has_plain) sum += (plain - plain_lost) * rescale(scale_exponent(ONE), scale_exponent(group_top));
    sum = reduce_sum(sum);
    if (lane == 0) partial[p.base + flat_group()] = uvec2(group_top, floatBitsToUint(sum.x + sum.y + sum.z + sum.w));
}
