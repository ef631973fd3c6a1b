// adamw: one step of Adam with decoupled decay over all parameters. Per value, with g the gradient times clip.gscale and
// clip.rest:
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w - decay_first w - step m/(sqrt(v) denom + eps);  w = w - decay w
// The document's order has decay_first = 0, PyTorch's has decay = 0. Variants x_y: gradients are x, parameters y;
// 16-bit parameters P are written from an f32 master copy, which is what w is then. Nothing is written when clip.skip is set.
// CHUNKS (chunks) of (off4, n4, class, moments4): n4 groups of four values, of gradients and parameters from group off4 on,
// of moments and master copy from group moments4 on.
// HYPER (classes, 16): b1, 1-b1, b2, 1-b2, eps, decay, decay_first, skips_known (uint bits), then four pairs (step, denom):
// steps skipped since the host computed them do not count, so pair j is taken after j skips more than skips_known.
// Each workgroup strides over the chunks.
//types f32_f32 f32_b16 b16_b16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint chunks; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer HYPER { float hyper[]; };
layout(binding = 2) readonly buffer CLIP { float norm, gscale; uint skip; float rest; uint skips; } clip;
INPUT(3, G, grad);
INOUT_F32(4, MOMENT1, moment1);
INOUT_F32(5, MOMENT2, moment2);
#define FIRST 6
#include "lib/weight.glsl"

void main() {
    if (clip.skip != 0) return;
    float gscale = clip.gscale, rest = clip.rest;
    for (uint c = flat_group(); c < p.chunks; c += flat_groups()) {
        uint first = chunk[c].x, end = first + chunk[c].y, h = chunk[c].z * 16, shift = chunk[c].w - first;
        float b1 = hyper[h], one_b1 = hyper[h + 1], b2 = hyper[h + 2], one_b2 = hyper[h + 3];
        float eps = hyper[h + 4], decay = hyper[h + 5], decay_first = hyper[h + 6];
        uint j = h + 8 + 2 * min(clip.skips - floatBitsToUint(hyper[h + 7]), 3u);
        float step_size = hyper[j], denom = hyper[j + 1];
        for (uint i = first + lane; i < end; i += LOCAL) {
            uint k = i + shift;
            precise vec4 g = load4(grad, i) * gscale * rest; // in this order: gscale rest may be subnormal
            vec4 m = b1 * loadf(moment1, k) + one_b1 * g;
            vec4 v = b2 * loadf(moment2, k) + one_b2 * g * g;
            vec4 w = load_weight(i, k);
            w -= decay_first * w;
            w -= step_size * m / (sqrt(v) * denom + eps);
            w -= decay * w;
            moment1[k] = stf(m);
            moment2[k] = stf(v);
            store_weight(i, k, w);
        }
    }
}
