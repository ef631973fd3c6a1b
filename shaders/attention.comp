// attention: y[t] = sum_j softmax_j(scale q[t].k[j]) v[j] over the keys j <= start + t, and lse[t] = log sum_j exp(scale q[t].k[j]).
// Shapes as in lib/attention.glsl; start is START's first word with has_start, otherwise 0. One invocation per row of y; the
// softmax is online: a running maximum, and sums that are scaled when it moves.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
layout(binding = 0) readonly buffer Q { V q[]; };
layout(binding = 1) readonly buffer K { V k[]; };
layout(binding = 2) readonly buffer X { V v[]; };
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(binding = 5) writeonly buffer LSE { float lse[]; };

void main() {
    uint row = flat_index();
    if (row >= p.batch * p.heads * p.queries) return;
    uint t = row % p.queries, h = row / p.queries % p.heads, b = row / p.queries / p.heads;
    uint keys = min(t + 1 + (p.has_start != 0 ? min(start, p.capacity) : 0), p.capacity);
    vec4 query[S4], sum[S4];
    for (uint s = 0; s < S4; s++) {
        query[s] = ld4(q[q_row(b, t, h) + s]) * p.scale;
        sum[s] = vec4(0);
    }
    float top = -INFINITY;
    vec4 total = vec4(0);
    for (uint j = 0; j < keys; j += 4) { // lavapipe would lose what lanes that stop early had in a do-while
        uvec4 at = uvec4(j, j + 1, j + 2, j + 3);
        uint r[4];
        [[unroll]] for (uint i = 0; i < 4; i++) r[i] = k_row(b, min(at[i], keys - 1), h / p.group);
        vec4 x = vec4(0);
        for (uint s = 0; s < S4; s++)
            x += vec4(dot(query[s], ld4(k[r[0] + s])), dot(query[s], ld4(k[r[1] + s])), dot(query[s], ld4(k[r[2] + s])), dot(query[s], ld4(k[r[3] + s])));
        x = mix(x, vec4(-INFINITY), greaterThanEqual(at, uvec4(keys)));
        float larger = max(top, max(max(x.x, x.y), max(x.z, x.w)));
        float factor = exp1(top - larger);
        vec4 e = exp4(x - larger);
        total = total * factor + e;
        for (uint s = 0; s < S4; s++)
            sum[s] = sum[s] * factor + e.x * ld4(v[r[0] + s]) + e.y * ld4(v[r[1] + s]) + e.z * ld4(v[r[2] + s]) + e.w * ld4(v[r[3] + s]);
        top = larger;
    }
    float all = dot(total, vec4(1));
    for (uint s = 0; s < S4; s++) y[q_row(b, t, h) + s] = st4(sum[s] / all);
    lse[row] = top + log1(all);
}
