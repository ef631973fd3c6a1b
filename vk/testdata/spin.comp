// x[0] = the result of n rounds of an integer recurrence: keeps the device busy.
#version 450
layout(local_size_x = 1) in;
layout(push_constant) uniform P { uint n; } p;
layout(binding = 0) buffer X { uint x[]; };
void main() {
    uint v = x[0];
    for (uint i = 0; i < p.n; i++) v = v * 1664525u + 1013904223u + (v >> 7);
    x[0] = v;
}
