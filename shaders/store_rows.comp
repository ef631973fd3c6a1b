// store_rows: cache[b, start + t] = x[b, t], rows of n4 groups: cache (batch, capacity, n4), x (batch, rows) of x_step groups, of
// which cache gets n4 from `from` on. With BOTH the n4 after those go to OTHER, a cache like the first. Rows from capacity on are
// not written. One group per invocation.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(constant_id = 10) const bool BOTH = false;
layout(push_constant) uniform P { uint batch, rows, capacity, n4, x_step, from; } p;
INPUT(0, X, x);
layout(binding = 1) readonly buffer START { uint start; };
layout(binding = 2) writeonly buffer CACHE { V cache[]; };
layout(binding = 3) writeonly buffer OTHER { V other[]; };

void main() {
    for_flat(i, p.batch * p.rows * p.n4) {
        uint row = i / p.n4, t = min(start, p.capacity) + row % p.rows;
        uint at = row * p.x_step + p.from + i % p.n4, to = (row / p.rows * p.capacity + t) * p.n4 + i % p.n4;
        if (t < p.capacity) {
            cache[to] = bits4(x, at);
            if (BOTH) other[to] = bits4(x, at + p.n4);
        }
    }
}
