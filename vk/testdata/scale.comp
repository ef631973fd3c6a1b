// y = s * x, one value per invocation.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 10) const uint EXTRA = 0;
layout(push_constant) uniform P { uint n; float s; } p;
layout(binding = 0) readonly  buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < p.n) y[i] = p.s * x[i] + float(EXTRA);
}
