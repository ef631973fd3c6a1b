// repeat: y = the values of x, in the order of y's rows and from x[from] on, again and again; zeros behind a row of y. size is 4 or 2,
// the bytes of a value of both: the values stay as they are stored.
#version 450
layout(constant_id = 0) const uint LOCAL = 64;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform P { uint words, columns, stride, from, period, size; } p;
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) writeonly buffer Y { uint y[]; };

uint value(uint row, uint column) {
    if (column >= p.columns) return 0;
    uint i = (p.from + row * p.columns + column) % p.period;
    return p.size == 4 ? x[i] : x[i / 2] >> i % 2 * 16 & 0xffff;
}

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * LOCAL + gl_LocalInvocationID.x;
    if (i >= p.words) return;
    uint at = i * 4 / p.size, row = at / p.stride, column = at % p.stride; // a row has whole words
    uint word = value(row, column);
    if (p.size == 2) word |= value(row, column + 1) << 16;
    y[i] = word;
}
