// fma: y = a number for each invocation, of twelve chains of f32 multiply-adds in registers, none of which waits for another: the
// most arithmetic that the device does. A chain that starts at s ends at s + 16 passes step when factor is 1.
#version 450
layout(constant_id = 0) const uint LOCAL = 64;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform P { uint threads, passes; float factor, step; } p;
layout(binding = 0) writeonly buffer Y { float y[]; };

#define ROUND a = a * x + d; b = b * x + d; c = c * x + d; // fused by every driver that can
#define ROUNDS4 ROUND ROUND ROUND ROUND

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * LOCAL + gl_LocalInvocationID.x;
    vec4 x = vec4(p.factor), d = vec4(p.step);
    vec4 a = vec4(0, 1, 2, 3) + float(i % 8), b = a + 4, c = a + 8; // all differ: nothing is computed once for several
    for (uint n = 0; n < p.passes; n++) {
        ROUNDS4 ROUNDS4 ROUNDS4 ROUNDS4
    }
    vec4 sum = a + b + c;
    if (i < p.threads) y[i] = sum.x + sum.y + sum.z + sum.w;
}
