// What specialization constants decide: a truth value, and comparisons of numbers.
//   glslc -O --target-env=vulkan1.1 decide.comp -o decide.spv
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 10) const bool FLAG = false;
layout(constant_id = 11) const uint MODE = 2;
layout(constant_id = 12) const uint N = 3;
layout(binding = 0) writeonly buffer Y { uint y[]; };
void main() {
    uint sum = 0;
    for (uint i = 0; i < N; i++) sum += i;
    if (gl_GlobalInvocationID.x == 0) y[0] = (FLAG ? 1000 : 0) + (MODE == 3 ? 100 : 0) + (MODE > 1 && !FLAG ? 200 : 0) + (N / 2 != MODE ? 400 : 0) + sum;
}
