// copy_strided: copies a box of rows of d values, or with ADD adds it to what is there. Row (i0, i1, i2, i3) of the box, whose
// last three dimensions are n1, n2 and n3, has value j at x.first + i0 x.s0 + ... + i3 x.s3 + j x.column of X, counted in
// values, padding included, and in the row of Y that begins at group y.first + i0 y.s0 + ... + i3 y.s3, from value y.column on.
// Of the groups of Y that the box begins or ends in, values before it stay, and without ADD those behind it become 0: boxes
// side by side are copied from left to right.
// n groups in all, groups for each row. WORK groups per invocation, see lib/index.glsl.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(constant_id = 14) const bool ADD = false;
layout(constant_id = 11) const bool ALIGNED = false; // x.column is 1, and rows begin at multiples of four in X and Y
struct Strides { uint first, s0, s1, s2, s3, column; };
layout(push_constant) uniform P { uint n, groups, d, n1, n2, n3; Strides x, y; } p;
INPUT(0, X, x);
layout(binding = 1) buffer Y { V y[]; };

uint row(Strides s, uint r) {
    uint i3 = r % p.n3, i2 = r / p.n3 % p.n2, i1 = r / (p.n3 * p.n2) % p.n1, i0 = r / (p.n3 * p.n2 * p.n1);
    return s.first + i0 * s.s0 + i1 * s.s1 + i2 * s.s2 + i3 * s.s3;
}

float value(uint i) { return load4(x, i / 4)[i % 4]; }

void main() {
    for_flat(i, p.n) {
        uint from = row(p.x, i / p.groups), to = row(p.y, i / p.groups) + p.y.column / 4 + i % p.groups;
        ivec4 j = int(i % p.groups * 4) - int(p.y.column % 4) + ivec4(0, 1, 2, 3);
        vec4 v;
        if (ALIGNED) v = load4(x, from / 4 + uint(j.x) / 4);
        else {
            uvec4 at = from + uvec4(clamp(j, ivec4(0), ivec4(p.d - 1))) * p.x.column;
            v = vec4(value(at.x), value(at.y), value(at.z), value(at.w));
        }
        v = mix(v, vec4(0), greaterThanEqual(j, ivec4(p.d)));
        if (ADD) v = ld4(y[to]) + mix(v, vec4(0), lessThan(j, ivec4(0)));
        else if (j.x < 0) v = mix(v, ld4(y[to]), lessThan(j, ivec4(0)));
        y[to] = st4(v);
    }
}
