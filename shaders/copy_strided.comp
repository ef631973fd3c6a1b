// copy_strided: copies a box of rows of d values, or with ADD adds it to what is there. Row (i0, i1, i2, i3) of the box, whose
// last three dimensions are n1, n2 and n3, has value j at x.first + i0 x.s0 + ... + i3 x.s3 + j x.column of X, counted in
// values, padding included, and in the row of Y that begins at group y.first + i0 y.s0 + ... + i3 y.s3, from value y.column on.
// Of the groups of Y that the box begins or ends in, values before it stay, and without ADD those behind it become 0: boxes
// side by side are copied from left to right.
// groups for each row. n items in all, WORK per invocation, see lib/index.glsl: a group, or with TURNED four groups of four rows,
// of which X has each column side by side, so that memory is read and written by whole groups.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/box.glsl"
layout(constant_id = 14) const bool ADD = false;
layout(constant_id = 11) const bool ALIGNED = false; // x.column is 1, and rows begin at multiples of four in X and Y
layout(constant_id = 16) const bool TURNED = false; // x.s3 is 1, y.column 0, and the rest of X and its strides multiples of four
struct Strides { uint first, s0, s1, s2, s3, column; };
layout(push_constant) uniform P { uint n, groups, d, n1, n2, n3; Strides x, y; } p;
INPUT(0, X, x);
layout(binding = 1) buffer Y { V y[]; };

uint row(Strides s, uint r) {
    uvec4 at = box_index(r, p.n1, p.n2, p.n3);
    return s.first + at.x * s.s0 + at.y * s.s1 + at.z * s.s2 + at.w * s.s3;
}

float value(uint i) { return load4(x, i / 4)[i % 4]; }

// Of neighbors eight are across and four down: they read 64 bytes side by side and write 128, of f32.
void turn(uint i) {
    uint across = (p.groups + 7) / 8, down = (p.n3 + 15) / 16, column = i / 32 / across, outer = column / down;
    uint group = (i / 32 - column * across) * 8 + i % 8, i3 = (column - outer * down) * 16 + i / 8 % 4 * 4;
    if (group >= p.groups || i3 >= p.n3) return;
    uint from = row(p.x, outer * p.n3) + i3, to = row(p.y, outer * p.n3) + i3 * p.y.s3 + group;
    mat4 v;
    [[unroll]] for (uint k = 0; k < 4; k++) {
        uint j = group * 4 + k;
        v[k] = mix(vec4(0), load4(x, (from + min(j, p.d - 1) * p.x.column) / 4), bvec4(j < p.d));
    }
    v = transpose(v);
    [[unroll]] for (uint k = 0; k < 4; k++) {
        if (i3 + k < p.n3) y[to + k * p.y.s3] = st4(ADD ? ld4(y[to + k * p.y.s3]) + v[k] : v[k]);
    }
}

void main() {
    for_flat(i, p.n) {
        if (TURNED) {
            turn(i);
            continue;
        }
        uint r = i / p.groups, group = i - r * p.groups, from = row(p.x, r), to = row(p.y, r) + p.y.column / 4 + group;
        ivec4 j = int(group * 4) - int(p.y.column % 4) + ivec4(0, 1, 2, 3);
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
