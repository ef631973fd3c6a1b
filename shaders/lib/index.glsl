// The grid as one line. A dispatch has at most 65535 workgroups along x: more of them spill to y, and the host rounds
// x times y up, so a kernel checks its index against its size.
// defines: LOCAL (workgroup size, specialization id 0), lane, flat_group, flat_groups, flat_index, flat_count
layout(constant_id = 0) const uint LOCAL = 64;
layout(local_size_x_id = 0) in;

#define lane gl_LocalInvocationID.x // this invocation within its workgroup

uint flat_group() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
uint flat_groups() { return gl_NumWorkGroups.x * gl_NumWorkGroups.y; }
uint flat_index() { return flat_group() * LOCAL + lane; }
uint flat_count() { return flat_groups() * LOCAL; }
