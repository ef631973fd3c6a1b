// dropout: y = scale x where a random word is at least threshold, else 0; n4 groups of four values. Y may be X.
// The words of group i are philox4x32(counter = (i, k low, k high, number), key = seed): a pure function of seed, step k,
// number of the dropout in the graph and position, so the backward pass is the same kernel on dy and nothing is stored.
// WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/philox.glsl"
layout(push_constant) uniform P { uint n4, number, threshold; float scale; } p;
INPUT(0, X, x);
layout(binding = 1) readonly buffer RANDOM { uint k_lo, k_hi, seed_lo, seed_hi; } r;
layout(binding = 2) writeonly buffer Y { V y[]; };
void main() {
    for_flat(i, p.n4) {
        uvec4 words = philox4x32(uvec4(i, r.k_lo, r.k_hi, p.number), uvec2(r.seed_lo, r.seed_hi));
        y[i] = st4(mix(vec4(0), load4(x, i) * p.scale, greaterThanEqual(words, uvec4(p.threshold))));
    }
}
