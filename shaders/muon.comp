// muon: momentum, the first part of a step of Muon. Per value, with g the gradient times clip.gscale and clip.rest:
//   m = b m + (1 - b) g;  x = b m + (1 - b) g
// X is the matrices of one batch, one behind the other as in the arena of the moments, where the batch begins with group
// base4. SQUARES (chunks) of the sums of x^2 in each chunk. A step that is skipped leaves m as it is and makes x 0.
// CHUNKS of (off4, n4, class, moments4), see adamw, of which this call takes so many from the first; HYPER (classes, 16): b, 1-b.
// Each workgroup strides over the chunks.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(push_constant) uniform P { uint first, chunks, base4; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer HYPER { float hyper[]; };
layout(binding = 2) readonly buffer CLIP { float norm, gscale; uint skip; float rest; } clip;
INPUT(3, G, grad);
INOUT_F32(4, MOMENT, moment);
layout(binding = 5) writeonly buffer X { F32x4 x[]; };
layout(binding = 6) writeonly buffer SQUARES { float squares[]; };

void main() {
    float gscale = clip.gscale, rest = clip.rest;
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uvec4 at = chunk[p.first + c];
        float b = hyper[at.z * 16], one_b = hyper[at.z * 16 + 1];
        vec4 sum = vec4(0);
        for (uint i = lane; i < at.y; i += LOCAL) {
            uint k = at.w + i;
            vec4 look = vec4(0);
            if (clip.skip == 0) {
                precise vec4 g = load4(grad, at.x + i) * gscale * rest; // in this order: gscale rest may be subnormal
                vec4 m = b * loadf(moment, k) + one_b * g;
                look = b * m + one_b * g;
                moment[k] = stf(m);
            }
            x[k - p.base4] = stf(look);
            sum += look * look;
        }
        sum = reduce_sum(sum);
        if (lane == 0) squares[c] = sum.x + sum.y + sum.z + sum.w;
    }
}
