// clip: the global norm and what this step does with it, decided on the device. One workgroup, after norm.
//   unscale = 1/scaler.scale                          the scale that this step's loss was multiplied by
//   norm    = sqrt(sum of the partial sums) unscale
//   gscale rest = unscale, times max_norm/(norm + 1e-6) if max_norm >= 0 and the norm is finite and above max_norm; two
//             factors, as 1/3e38 alone is subnormal and a device may make it 0. rest is a power of two, mostly 1.
//   skip    = a bad id was reported, or skip_from is not 0 and the norm, clipped, is not below it or not finite
// flags bit 0, the dynamic loss scaler: a non-finite norm multiplies the scale by backoff; growth_interval finite ones in
// a row multiply it by growth. scaler.skips counts the steps skipped, and so does clip.skips.
#version 450
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/scaled.glsl"
layout(push_constant) uniform P { uint partials, flags; } p;
layout(binding = 0) readonly buffer PARTIAL { uvec2 partial[]; };
layout(binding = 1) readonly buffer CTRL { float max_norm, skip_from, growth_interval, growth, backoff, unused[3]; } c;
layout(binding = 2) buffer SCALER { float scale; uint good, skips, unused; } scaler;
layout(binding = 3) readonly buffer STATUS { uvec4 status; };
layout(binding = 4) writeonly buffer CLIP { float norm, gscale; uint skip; float rest; uint skips; } clip;

// 1/x, exact for powers of two whatever the driver's division does.
float reciprocal(float x) {
    uint bits = floatBitsToUint(x);
    return (bits & 0x7fffffu) == 0 && bits > 0 && bits < 254u << 23 ? uintBitsToFloat((254u << 23) - bits) : 1.0 / x;
}

float norm_times(float factor) {
    uint top = 0;
    for (uint i = lane; i < p.partials; i += LOCAL) top = max(top, partial[i].x);
    top = reduce_max(top);
    int e = scale_exponent(top);
    vec4 sum = vec4(0), lost = vec4(0);
    for (uint i = lane; i < p.partials; i += LOCAL) {
        uvec2 part = partial[i];
        kahan_add(sum, lost, vec4(uintBitsToFloat(part.y) * rescale(scale_exponent(part.x), e)));
    }
    sum = reduce_sum(sum - lost);
    if (top > 0x7f800000u) return NAN;
    if (top == 0x7f800000u) return INFINITY;
    return sqrt(sum.x) * factor * pow2(e);
}

void main() {
    float unscale = reciprocal(scaler.scale);
    float norm = norm_times(unscale);
    if (lane != 0) return;
    bool finite = is_finite(norm), bad_id = status.x != 0;
    float clipped = c.max_norm >= 0 ? min(norm, c.max_norm) : norm;
    bool skip = bad_id || (c.skip_from != 0 && !(finite && clipped < c.skip_from));
    float shrink = 1.0, rest = 1.0;
    if (finite && c.max_norm >= 0 && norm > c.max_norm) {
        if (norm > 4294967296.0) rest = pow2(-64); // max_norm/norm alone could be subnormal
        shrink = c.max_norm / ((norm + 1e-6) * rest); // below 2^64, as max_norm < norm
        // A gradient is multiplied by gscale first, and by a shrink above 1 it could overflow before rest makes it small. The
        // product of the two is no less than 2^-64 then: one factor will do.
        if (shrink >= 1.0) {
            shrink *= rest;
            rest = 1.0;
        }
    }
    clip.norm = norm;
    clip.gscale = unscale * shrink;
    clip.skip = uint(skip);
    clip.rest = rest;
    if (skip) scaler.skips++;
    clip.skips = scaler.skips;
    if ((p.flags & 1u) == 0 || bad_id) return;
    if (!finite) {
        scaler.scale = max(scaler.scale * c.backoff, 1e-30);
        scaler.good = 0;
    } else if (float(++scaler.good) >= c.growth_interval) {
        float grown = scaler.scale * c.growth;
        if (is_finite(grown)) scaler.scale = grown;
        scaler.good = 0;
    }
}
