// muon_apply: the last part of a step of Muon. Per value, with x of the orthogonalized momentum, as kernel muon lays it out:
//   w = w - decay w - step scale x
// Variants x_y: X is x, parameters are y. CHUNKS as in muon; HYPER (classes, 16) from the third on: step, decay.
//types f32_f32 b16_b16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint first, chunks, base4; float scale; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer HYPER { float hyper[]; };
layout(binding = 2) readonly buffer CLIP { float norm, gscale; uint skip; } clip;
INPUT(3, X, x);
#define FIRST 4
#include "lib/weight.glsl"

void main() {
    if (clip.skip != 0) return;
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uvec4 at = chunk[p.first + c];
        float step_size = hyper[at.z * 16 + 2] * p.scale, decay = hyper[at.z * 16 + 3];
        for (uint j = lane; j < at.y; j += LOCAL) {
            uint i = at.x + j, k = at.w + j;
            vec4 w = load_weight(i, k);
            w -= decay * w;
            w -= step_size * load4(x, k - p.base4);
            store_weight(i, k, w);
        }
    }
}
