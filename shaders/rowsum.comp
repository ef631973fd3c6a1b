// rowsum: sums over parts of per4 groups of each row of X (n, stride4 groups of four values). With FINAL a part is a row, and
// group r of Y is (sum of row r times factor, 0, 0, 0), with ADD added to what is there; else group r parts + k of Y is the sum of
// the groups of part k of row r. Repeated with FINAL it is the sum of each row. Variants x_y: X is x, Y is y.
// One workgroup per part, or fewer: they stride. Sums are compensated per invocation, then joined by a tree.
//types f32 f32_b16 b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(constant_id = 10) const bool FINAL = true;
layout(constant_id = 14) const bool ADD = false;
layout(push_constant) uniform P { uint n, stride4, parts, per4; float factor; } p;
INPUT(0, X, x);
layout(binding = 1) buffer Y { W y[]; };

void main() {
    for (uint k = flat_group(); k < p.n * p.parts; k += flat_groups()) {
        uint row = k / p.parts * p.stride4, start = k % p.parts * p.per4, end = min(start + p.per4, p.stride4);
        vec4 sum = vec4(0), lost = vec4(0);
        for (uint i = start + lane; i < end; i += LOCAL) kahan_add(sum, lost, load4(x, row + i));
        sum = reduce_sum(sum - lost);
        if (FINAL) sum = vec4(((sum.x + sum.y) + (sum.z + sum.w)) * p.factor, 0, 0, 0);
        if (lane == 0) y[k] = st4_to(ADD ? ld4_to(y[k]) + sum : sum);
    }
}
