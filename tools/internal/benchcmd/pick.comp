// pick: y = every step-th value of x, and the last of them again and again. size is 4 or 2, the bytes of a value of both; values
// are counted as they are stored, those behind a row too.
#version 450
layout(constant_id = 0) const uint LOCAL = 64;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform P { uint words, step, last, size; } p;
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) writeonly buffer Y { uint y[]; };

uint value(uint j) {
    uint i = min(j * p.step, p.last);
    return p.size == 4 ? x[i] : x[i / 2] >> i % 2 * 16 & 0xffff;
}

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * LOCAL + gl_LocalInvocationID.x;
    if (i >= p.words) return;
    y[i] = p.size == 4 ? value(i) : value(2 * i) | value(2 * i + 1) << 16;
}
