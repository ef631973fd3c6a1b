// What the attention kernels share: shapes, and where rows lie. Letters: b of batch, t of queries, j of keys, h of heads, g of
// key heads (head h reads key head h / group); a row is one head of one position, S values in S4 groups of four, zeros behind.
//   q, y (batch, queries, heads, S)   k, v (batch, capacity, heads / group, S)   lse, delta (batch, heads, queries), dense
// needs:   lib/index.glsl
// defines: p, S4, ADD_FIRST, ADD_SECOND, q_row, k_row, stat
layout(constant_id = 10) const uint S4 = 8;
layout(constant_id = 14) const uint ADD_FIRST = 0; // of the gradients a kernel writes, add the first one to what is there
layout(constant_id = 15) const uint ADD_SECOND = 0;
layout(push_constant) uniform P {
    uint batch, queries, capacity, heads, group;
    uint has_start, first_head, last_head; // dk and dv: the heads first_head <= h < last_head of each group
    float scale;
} p;

uint q_row(uint b, uint t, uint h) { return ((b * p.queries + t) * p.heads + h) * S4; }
uint k_row(uint b, uint j, uint g) { return ((b * p.capacity + j) * (p.heads / p.group) + g) * S4; }
uint stat(uint b, uint h, uint t) { return (b * p.heads + h) * p.queries + t; }
