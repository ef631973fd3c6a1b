// attention_dq: dq[t] = scale sum_j p[t,j] (dy[t].v[j] - delta[t]) k[j] with p[t,j] = exp(scale q[t].k[j] - lse[t]), over j <= t;
// with add_first it is added. Shapes as in lib/attention.glsl. One invocation per row of dq.
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
layout(binding = 3) readonly buffer DY { V dy[]; };
layout(binding = 4) readonly buffer LSE { float lse[]; };
layout(binding = 5) readonly buffer DELTA { float delta[]; };
layout(binding = 6) buffer DQ { V dq[]; };

void main() {
    uint row = flat_index();
    if (row >= p.batch * p.heads * p.queries) return;
    uint t = row % p.queries, h = row / p.queries % p.heads, b = row / p.queries / p.heads;
    uint to = q_row(b, t, h);
    vec4 query[S4], up[S4], sum[S4];
    for (uint s = 0; s < S4; s++) {
        query[s] = ld4(q[to + s]) * p.scale;
        up[s] = ld4(dy[to + s]);
        sum[s] = vec4(0);
    }
    for (uint j = 0; j <= t; j += 4) { // lavapipe would lose what lanes that stop early had in a do-while
        uvec4 at = uvec4(j, j + 1, j + 2, j + 3);
        uint r[4];
        [[unroll]] for (uint i = 0; i < 4; i++) r[i] = k_row(b, min(at[i], t), h / p.group);
        vec4 x = vec4(-lse[row]), d = vec4(-delta[row]);
        for (uint s = 0; s < S4; s++) {
            x += vec4(dot(query[s], ld4(k[r[0] + s])), dot(query[s], ld4(k[r[1] + s])), dot(query[s], ld4(k[r[2] + s])), dot(query[s], ld4(k[r[3] + s])));
            d += vec4(dot(up[s], ld4(v[r[0] + s])), dot(up[s], ld4(v[r[1] + s])), dot(up[s], ld4(v[r[2] + s])), dot(up[s], ld4(v[r[3] + s])));
        }
        d = mix(exp4(x) * d, vec4(0), greaterThan(at, uvec4(t)));
        for (uint s = 0; s < S4; s++)
            sum[s] += d.x * ld4(k[r[0] + s]) + d.y * ld4(k[r[1] + s]) + d.z * ld4(k[r[2] + s]) + d.w * ld4(k[r[3] + s]);
    }
    for (uint s = 0; s < S4; s++) {
        vec4 old = p.add_first != 0 ? ld4(dq[to + s]) : vec4(0);
        dq[to + s] = st4(old + p.scale * sum[s]);
    }
}
