// y[i] = how many invocations of workgroup i are in the subgroup of its first one.
#version 450
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x_id = 0) in;
layout(binding = 0) writeonly buffer Y { uint y[]; };
void main() {
    uint n = subgroupAdd(1u);
    if (gl_LocalInvocationID.x == 0) y[gl_WorkGroupID.x] = n;
}
