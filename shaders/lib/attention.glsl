// What the attention kernels share: shapes, and where rows lie. Letters: b of batch, t of queries, j of keys, h of heads, g of
// key heads (head h reads key head h / group); a row is one head of one position, S values in S4 groups of four, zeros behind.
//   q, y (batch, queries, heads, S)   k, v (batch, capacity, heads / group, S)   stats (batch, heads, queries, 2), dense: lse and
//   delta, which are log sum_j exp of the logits and y.dy, what the gradient of a softmax subtracts from each of its terms
// q, k and v may be parts of the rows of one tensor: q_step, k_step are the groups from one position to the next, k_from and
// v_from where its keys and values begin. Gradients lie as what they are of.
// What differs from plain causal attention is told by VISIBLE and CAPPED, see lib/attention_logits.glsl.
// needs:   lib/index.glsl
// defines: p, S4, ADD_FIRST, ADD_SECOND, VISIBLE, CAPPED, q_row, y_row, k_row, v_row, stat, first_key, first_query, last_query
layout(constant_id = 10) const uint S4 = 8;
layout(constant_id = 14) const uint ADD_FIRST = 0; // of the gradients a kernel writes, add the first one to what is there
layout(constant_id = 15) const uint ADD_SECOND = 0;
const uint CAUSAL = 0, WINDOW = 1, ADDED_MASK = 2, BOOLEAN_MASK = 3;
layout(constant_id = 16) const uint VISIBLE = CAUSAL; // the keys that a query sees
layout(constant_id = 17) const bool CAPPED = false;
layout(push_constant) uniform P {
    uint batch, queries, capacity, heads, group;
    uint has_start, first_head, last_head; // dk and dv: the heads first_head <= h < last_head of each group
    float scale, cap;
    uint window, mask_batch, mask_head, mask_row; // the mask's strides, in values
    uint q_step, k_step, k_from, v_from;
} p;

uint q_row(uint b, uint t, uint h) { return (b * p.queries + t) * p.q_step + h * S4; }
uint y_row(uint b, uint t, uint h) { return ((b * p.queries + t) * p.heads + h) * S4; }
uint k_row(uint b, uint j, uint g) { return (b * p.capacity + j) * p.k_step + p.k_from + g * S4; }
uint v_row(uint b, uint j, uint g) { return (b * p.capacity + j) * p.k_step + p.v_from + g * S4; }
uint stat(uint b, uint h, uint t) { return ((b * p.heads + h) * p.queries + t) * 2; } // delta is the next one

// The first of the keys that queries from position t on see, or before it.
uint first_key(uint t) { return VISIBLE == WINDOW && t >= p.window ? t + 1 - p.window : 0; }

// Of the queries that see keys from j on, n of them: the first, and the one behind the last.
uint first_query(uint j) { return VISIBLE > WINDOW ? 0 : j; }
uint last_query(uint j, uint n) { return VISIBLE == WINDOW ? min(j + n - 1 + p.window, p.queries) : p.queries; }
