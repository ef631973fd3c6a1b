// lion: one step of Lion over all parameters. Per value, with g the gradient times clip.gscale and clip.rest:
//   w = w - decay w - step sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g
// HYPER (classes, 16): b1, 1-b1, b2, 1-b2, step, decay. Variants, CHUNKS and the rest as in adamw.
//types f32_f32 f32_b16 b16_b16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint chunks; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer HYPER { float hyper[]; };
layout(binding = 2) readonly buffer CLIP { float norm, gscale; uint skip; float rest; } clip;
INPUT(3, G, grad);
INOUT_F32(4, MOMENT, moment);
#include "lib/weight.glsl"

void main() {
    if (clip.skip != 0) return;
    float gscale = clip.gscale, rest = clip.rest;
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint first = chunk[c].x, end = first + chunk[c].y, h = chunk[c].z * 16, shift = chunk[c].w - first;
        float b1 = hyper[h], one_b1 = hyper[h + 1], b2 = hyper[h + 2], one_b2 = hyper[h + 3];
        float step_size = hyper[h + 4], decay = hyper[h + 5];
        for (uint i = first + lane; i < end; i += LOCAL) {
            uint k = i + shift;
            precise vec4 g = load4(grad, i) * gscale * rest; // in this order: gscale rest may be subnormal
            vec4 m = loadf(moment, k), w = load_weight(i, k);
            w -= decay * w;
            vec4 look = b1 * m + one_b1 * g;
            w -= step_size * keep_nan(look, sign(look));
            moment[k] = stf(b2 * m + one_b2 * g);
            store_weight(i, k, w);
        }
    }
}
