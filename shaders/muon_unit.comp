// muon_unit: y = x / (|x| + 1e-7) for each matrix x of a batch, with |x| the root of the sum of its squares, of which kernel
// muon left the parts. Squares that underflow don't matter: beside 1e-7 their matrix is 0.
// X and Y: matrices of n4 groups of four values, SQUARES (matrices, parts). Each workgroup strides over the parts.
//types f32_f32 f32_b16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(push_constant) uniform P { uint matrices, parts, n4; } p;
INPUT_F32(0, X, x);
layout(binding = 1) readonly buffer SQUARES { float squares[]; };
layout(binding = 2) writeonly buffer Y { W y[]; };

void main() {
    uint part4 = (p.n4 + p.parts - 1) / p.parts;
    for (uint c = flat_group(); c < p.matrices * p.parts; c += flat_groups()) {
        uint matrix = c / p.parts;
        float sum = 0;
        for (uint i = lane; i < p.parts; i += LOCAL) sum += squares[matrix * p.parts + i];
        float scale = 1.0 / (sqrt(reduce_sum(sum)) + 1e-7);
        uint first = (c % p.parts) * part4, end = min(first + part4, p.n4);
        for (uint i = first + lane; i < end; i += LOCAL) y[matrix * p.n4 + i] = st4_to(loadf(x, matrix * p.n4 + i) * scale);
    }
}
