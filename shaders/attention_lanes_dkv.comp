// attention_lanes_dkv: over the queries t >= j of the heads h that read a key head, in order,
//   dv[j] = sum_t p[t,j] dy[t]   dk[j] = scale sum_t p[t,j] (dy[t].v[j] - delta[t]) q[t]   with p[t,j] = exp(scale q[t].k[j] - lse[t])
// dk is added with ADD_FIRST, dv with ADD_SECOND. Shapes as in lib/attention.glsl. One subgroup per LOCAL LANE_ROWS keys of a key
// head, each lane with LANE_ROWS of them, LOCAL apart.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
#include "lib/ids.glsl"
#include "lib/lanes.glsl"
INPUT(0, Q, q);
INPUT(1, K, k);
INPUT(2, X, v);
INPUT(3, DY, dy);
layout(binding = 4) readonly buffer STATS { float stats[]; };
layout(binding = 5) readonly buffer MASK { uint mask[]; };
#include "lib/attention_logits.glsl"
layout(binding = 6) buffer DK { V dk[]; };
layout(binding = 7) buffer DV { V dv[]; };

void main() {
    uint groups = p.batch * (p.heads / p.group), tiles = (p.queries + LOCAL * LANE_ROWS - 1) / (LOCAL * LANE_ROWS);
    if (flat_group() >= groups * tiles) return;
    uint g = flat_group() % (p.heads / p.group), b = flat_group() % groups / (p.heads / p.group);
    uint first = flat_group() / groups * LOCAL * LANE_ROWS; // the early keys first: most queries see them, so they take longest
    vec4 key[LANE_ROWS][S4], value[LANE_ROWS][S4], sum_k[LANE_ROWS][S4], sum_v[LANE_ROWS][S4];
    [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
        uint j = min(first + r * LOCAL + lane, p.queries - 1), from = k_row(b, j, g), values = v_row(b, j, g);
        [[unroll]] for (uint s = 0; s < S4; s++) {
            key[r][s] = load4(k, from + s) * p.scale;
            value[r][s] = load4(v, values + s);
            sum_k[r][s] = sum_v[r][s] = vec4(0);
        }
    }
    for (uint h = g * p.group + p.first_head; h < g * p.group + p.last_head; h++) {
        for (uint t = first_query(first); t < last_query(first, LOCAL * LANE_ROWS); t += LOCAL) {
            uint at = min(t + lane, p.queries - 1), row = q_row(b, at, h), row_up = y_row(b, at, h);
            float log_sum = stats[stat(b, h, at)], less = stats[stat(b, h, at) + 1];
            vec4 x[LANE_ROWS][LANES4], d[LANE_ROWS][LANES4], query[S4], up[S4];
            [[unroll]] for (uint i = 0; i < LANES4; i++) {
                vec4 l = of_lanes(log_sum, i), m = of_lanes(less, i);
                [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
                    x[r][i] = CAPPED ? vec4(0) : -l;
                    d[r][i] = -m;
                }
            }
            load_and_use(s, query[s] = load4(q, row + s); up[s] = load4(dy, row_up + s);,
                dots(x, key, s, query[s])
                dots(d, value, s, up[s]))
            [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
                [[unroll]] for (uint i = 0; i < LANES4; i++) {
                    uvec4 query_at = t + 4 * i + uvec4(0, 1, 2, 3), key_at = uvec4(first + r * LOCAL + lane);
                    if (CAPPED) {
                        x[r][i] = capped(x[r][i]);
                        d[r][i] *= cap_slope(x[r][i]);
                        x[r][i] -= of_lanes(log_sum, i);
                    }
                    x[r][i] = exp4(seen(x[r][i], b, h, query_at, key_at));
                    if (VISIBLE == CAUSAL) x[r][i] = mix(vec4(0), x[r][i], lessThan(key_at, query_at + 1));
                    x[r][i] = mix(x[r][i], vec4(0), greaterThanEqual(query_at, uvec4(p.queries)));
                    d[r][i] *= x[r][i];
                }
            }
            [[unroll]] for (uint s = 0; s < S4; s++) {
                sums(sum_k, s, d, query[s])
                sums(sum_v, s, x, up[s])
            }
        }
    }
    [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
        uint j = first + r * LOCAL + lane, to_k = k_row(b, j, g), to_v = v_row(b, j, g);
        if (j < p.queries) {
            [[unroll]] for (uint s = 0; s < S4; s++) {
                vec4 x = p.scale * sum_k[r][s], z = sum_v[r][s];
                if (ADD_FIRST != 0) x += ld4(dk[to_k + s]);
                if (ADD_SECOND != 0) z += ld4(dv[to_v + s]);
                dk[to_k + s] = st4(x);
                dv[to_v + s] = st4(z);
            }
        }
    }
}
