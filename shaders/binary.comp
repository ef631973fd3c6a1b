// binary: z = x op y of rows of stride4 groups of four values, n4 groups in all; OPERATION says which op. X, Y or both may be
// broadcast: of such an operand (X_SPREAD, Y_SPREAD) row (i0, i1, i2, i3) of Z, whose last three dimensions are n1, n2 and n3,
// has group i0 s0 + i1 s1 + i2 s2 + i3 s3 + j for its group j, or with s_column 0 the first value of that with j = 0 for all.
// C has the shape of Z and is read by DIVIDE_BACK alone, the gradient of a quotient by its divisor: -c x/y^2.
// Z may be X or Y, or C, where that is not broadcast. WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/box.glsl"
const uint ADD = 0, SUBTRACT = 1, MULTIPLY = 2, DIVIDE = 3, DIVIDE_BACK = 4;
layout(constant_id = 10) const uint OPERATION = ADD;
layout(constant_id = 11) const uint PADDED = 0; // rows are padded, and the result of their padding may not be 0
layout(constant_id = 14) const bool X_SPREAD = false;
layout(constant_id = 15) const bool Y_SPREAD = false;
struct Spread { uint s0, s1, s2, s3, s_column; };
layout(push_constant) uniform P { uint n4, stride4, d, n1, n2, n3; Spread x, y; } p;
INPUT(0, X, x);
INPUT(1, Y, y);
INPUT(2, C, c);
layout(binding = 3) writeonly buffer Z { V z[]; };

uint at(Spread s, uint i) {
    uint r = i / p.stride4;
    uvec4 at = box_index(r, p.n1, p.n2, p.n3);
    return at.x * s.s0 + at.y * s.s1 + at.z * s.s2 + at.w * s.s3 + (i - r * p.stride4) * s.s_column;
}
vec4 spread(Spread s, vec4 v) { return s.s_column == 0 ? v.xxxx : v; }

vec4 load_x(uint i) {
    if (X_SPREAD) return spread(p.x, load4(x, at(p.x, i)));
    return load4(x, i);
}
vec4 load_y(uint i) {
    if (Y_SPREAD) return spread(p.y, load4(y, at(p.y, i)));
    return load4(y, i);
}

vec4 result(uint i) {
    vec4 a = load_x(i), b = load_y(i);
    if (OPERATION == SUBTRACT) return a - b;
    if (OPERATION == MULTIPLY) return a * b;
    if (OPERATION == DIVIDE) return a / b;
    if (OPERATION == DIVIDE_BACK) return -load4(c, i) * (a / b) / b;
    return a + b;
}

void main() {
    for_flat(i, p.n4) {
        vec4 v = result(i);
        if (PADDED != 0) v = mix(vec4(0), v, lessThan(i % p.stride4 * 4 + uvec4(0, 1, 2, 3), uvec4(p.d)));
        z[i] = st4(v);
    }
}
