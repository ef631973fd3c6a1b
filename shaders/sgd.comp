// sgd: one step of stochastic gradient descent with momentum over all parameters. Per value, with g the gradient times
// clip.gscale and clip.rest:
//   g = g + decay w;  m = b m + g;  w = w - step (plain g + held m)
// plain is 0 and held 1, or with Nesterov's momentum 1 and b.
// HYPER (classes, 16): b, decay, step, plain, held. Variants, CHUNKS and the rest as in adamw.
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
        float b = hyper[h], decay = hyper[h + 1], step_size = hyper[h + 2], plain = hyper[h + 3], held = hyper[h + 4];
        for (uint i = first + lane; i < end; i += LOCAL) {
            uint k = i + shift;
            precise vec4 g = load4(grad, i) * gscale * rest; // in this order: gscale rest may be subnormal
            vec4 w = load_weight(i, k);
            g += decay * w;
            vec4 m = b * loadf(moment, k) + g;
            w -= step_size * (plain * g + held * m);
            moment[k] = stf(m);
            store_weight(i, k, w);
        }
    }
}
