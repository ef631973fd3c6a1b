// A push block with every kind of member that kernels use: its size is 84 bytes.
#version 450
layout(local_size_x = 2, local_size_y_id = 1, local_size_z_id = 2) in;
layout(push_constant) uniform P { uint a; float b; uvec2 c; vec4 d; mat2 e; uint f[8]; uint g; } p;
layout(binding = 0) writeonly buffer Y { float y[]; };
layout(binding = 1) readonly buffer X { uint n; float x[]; } x;
void main() { y[gl_LocalInvocationIndex] = float(p.a + p.c.y + p.f[3] + p.g + x.n) + p.b + p.d.w + p.e[1][1] + x.x[0]; }
