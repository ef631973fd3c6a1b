// attention_delta: delta[t] = y[t].dy[t], what the gradient of a softmax subtracts from each of its terms. Shapes as in
// lib/attention.glsl. One invocation per row.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/attention.glsl"
INPUT(0, Y, y);
INPUT(1, DY, dy);
layout(binding = 2) writeonly buffer STATS { float stats[]; };

void main() {
    uint row = flat_index();
    if (row >= p.batch * p.heads * p.queries) return;
    uint from = y_row(row / p.queries / p.heads, row % p.queries, row / p.queries % p.heads);
    vec4 sum = vec4(0);
    for (uint s = 0; s < S4; s++) sum += load4(y, from + s) * load4(dy, from + s);
    stats[2 * row + 1] = dot(sum, vec4(1));
}
