// attention_dkv: over the queries t >= j of the heads that read the key head, in order,
//   dv[j] = sum_t p[t,j] dy[t]   dk[j] = scale sum_t p[t,j] (dy[t].v[j] - delta[t]) q[t]   with p[t,j] = exp(scale q[t].k[j] - lse[t])
// dk is added with add_first, dv with add_second. Shapes as in lib/attention.glsl. One invocation per row of dk and dv.
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
layout(binding = 6) buffer DK { V dk[]; };
layout(binding = 7) buffer DV { V dv[]; };

void main() {
    uint row = flat_index(), kv_heads = p.heads / p.group;
    if (row >= p.batch * kv_heads * p.queries) return;
    uint j = row % p.queries, g = row / p.queries % kv_heads, b = row / p.queries / kv_heads;
    uint to = k_row(b, j, g);
    vec4 key[S4], value[S4], sum_k[S4], sum_v[S4];
    for (uint s = 0; s < S4; s++) {
        key[s] = ld4(k[to + s]) * p.scale;
        value[s] = ld4(v[to + s]);
        sum_k[s] = sum_v[s] = vec4(0);
    }
    for (uint h = g * p.group; h < (g + 1) * p.group; h++) {
        for (uint t = j; t < p.queries; t += 4) {
            uvec4 at = uvec4(t, t + 1, t + 2, t + 3);
            uint r[4];
            vec4 x, d;
            [[unroll]] for (uint i = 0; i < 4; i++) {
                uint query = min(at[i], p.queries - 1);
                r[i] = q_row(b, query, h);
                x[i] = -lse[stat(b, h, query)];
                d[i] = -delta[stat(b, h, query)];
            }
            for (uint s = 0; s < S4; s++) {
                x += vec4(dot(key[s], ld4(q[r[0] + s])), dot(key[s], ld4(q[r[1] + s])), dot(key[s], ld4(q[r[2] + s])), dot(key[s], ld4(q[r[3] + s])));
                d += vec4(dot(value[s], ld4(dy[r[0] + s])), dot(value[s], ld4(dy[r[1] + s])), dot(value[s], ld4(dy[r[2] + s])), dot(value[s], ld4(dy[r[3] + s])));
            }
            x = mix(exp4(x), vec4(0), greaterThanEqual(at, uvec4(p.queries)));
            d *= x;
            for (uint s = 0; s < S4; s++) {
                [[unroll]] for (uint i = 0; i < 4; i++) {
                    sum_k[s] += d[i] * ld4(q[r[i] + s]);
                    sum_v[s] += x[i] * ld4(dy[r[i] + s]);
                }
            }
        }
    }
    for (uint s = 0; s < S4; s++) {
        vec4 old_k = p.add_first != 0 ? ld4(dk[to + s]) : vec4(0), old_v = p.add_second != 0 ? ld4(dv[to + s]) : vec4(0);
        dk[to + s] = st4(old_k + p.scale * sum_k[s]);
        dv[to + s] = st4(old_v + sum_v[s]);
    }
}
