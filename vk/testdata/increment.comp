// x += 1 for each whole number. A repeated run shows whether each saw the one before.
#version 450
layout(local_size_x = 64) in;
layout(binding = 0) buffer X { uint x[]; };
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < x.length()) x[i] += 1;
}
