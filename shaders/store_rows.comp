// store_rows: cache[b, start + t] = x[b, t], rows of n4 groups: x (batch, rows, n4), cache (batch, capacity, n4). Rows from
// capacity on are not written. One group per invocation.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint batch, rows, capacity, n4; } p;
INPUT(0, X, x);
layout(binding = 1) readonly buffer START { uint start; };
layout(binding = 2) writeonly buffer CACHE { V cache[]; };

void main() {
    for_flat(i, p.batch * p.rows * p.n4) {
        uint row = i / p.n4, t = min(start, p.capacity) + row % p.rows;
        if (t < p.capacity) cache[(row / p.rows * p.capacity + t) * p.n4 + i % p.n4] = bits4(x, i);
    }
}
