// The grid as one line. A dispatch has at most 65535 workgroups along x: more of them spill to y, and the host rounds
// x times y up, so a kernel checks its index against its size.
// defines: LOCAL (workgroup size, specialization id 0), lane, flat_group, flat_groups, flat_index
//          for_flat (with WORK, specialization id 13)
#extension GL_EXT_control_flow_attributes : require
layout(constant_id = 0) const uint LOCAL = 64;
layout(local_size_x_id = 0) in;

#define lane gl_LocalInvocationID.x // this invocation within its workgroup

uint flat_group() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
uint flat_groups() { return gl_NumWorkGroups.x * gl_NumWorkGroups.y; }
uint flat_index() { return flat_group() * LOCAL + lane; }

// for_flat(i, n) runs the statement after it for each i below n, once in the whole grid. A workgroup takes LOCAL * WORK
// neighbors at a time, an invocation WORK of them, LOCAL apart, in an unrolled loop; workgroups stride when there are fewer
// than that needs. Unrolled because a step costs much on processors and because lavapipe ends the loops of an invocation
// after 65535 iterations in all.
layout(constant_id = 13) const uint WORK = 4;
#define for_flat(i, n)                                                                                    \
    for (uint first_ = flat_group() * LOCAL * WORK + lane; first_ < n; first_ += flat_groups() * LOCAL * WORK) \
        [[unroll]] for (uint k_ = 0, i = first_; k_ < WORK; k_++, i += LOCAL) if (i < n)
