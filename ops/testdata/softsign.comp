// softsign: y = x / (1 + |x|), n4 groups of four f32 values; with BACKWARD dx = dy / (1 + |x|)^2. In forward DY is not used.
// An operation from outside, for tests and an example:
//   glslc -O --target-env=vulkan1.1 softsign.comp -o softsign.spv
#version 450
layout(local_size_x = 64) in;
layout(constant_id = 10) const bool BACKWARD = false;
layout(push_constant) uniform P { uint n4; } p;
layout(binding = 0) readonly buffer X { vec4 x[]; };
layout(binding = 1) readonly buffer DY { vec4 dy[]; };
layout(binding = 2) writeonly buffer Y { vec4 y[]; };

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (i >= p.n4) return;
    vec4 d = 1.0 + abs(x[i]);
    y[i] = BACKWARD ? dy[i] / (d * d) : x[i] / d;
}
