// Shared variables of all kinds: 16 LOCAL + 48 (LOCAL + 2) + 28 + 4 of padding + 32 bytes.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL = 64;
layout(binding = 0) buffer X { float x[]; };
struct S { bool a; vec3 b; uint c[2]; }; // at 0, 16 and 28: 48 with the alignment of b
shared vec4 a[LOCAL];
shared S b[LOCAL + 4 / 2];
shared float c[7];
shared mat2x3 d;
void main() {
    uint i = gl_LocalInvocationID.x;
    a[i] = vec4(x[i]);
    b[i].a = x[i] > 0;
    b[i].b = vec3(x[i]);
    b[i].c[i % 2] = i;
    if (i < 7) c[i] = x[i];
    d = mat2x3(x[0]);
    barrier();
    uint j = LOCAL - 1 - i;
    x[i] = a[j].y + float(b[j].a) + b[j].b.y + float(b[j].c[1]) + c[j % 7] + d[1].y;
}
