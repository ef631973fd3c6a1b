// gradscale: g = g clip.gscale clip.rest in place: clipping by itself, without the optimizer. Nothing is written when both
// are 1 or clip.skip is set.
// CHUNKS (chunks) of (off4, n4, class, moments4): n4 groups of four values of G from group off4 on.
// Each workgroup strides over the chunks.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint chunks; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer CLIP { float norm, gscale; uint skip; float rest; } clip;
layout(binding = 2) buffer G { V g[]; };

void main() {
    float gscale = clip.gscale, rest = clip.rest;
    if (clip.skip != 0 || gscale == 1.0 && rest == 1.0) return;
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint first = chunk[c].x, end = first + chunk[c].y;
        for (uint i = first + lane; i < end; i += LOCAL) {
            precise vec4 x = ld4(g[i]) * gscale * rest; // in this order: gscale rest may be subnormal
            g[i] = st4(x);
        }
    }
}
