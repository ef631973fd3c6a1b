// attention_lanes_dq: dq[t] = scale sum_j p[t,j] (dy[t].v[j] - delta[t]) k[j] with p[t,j] = exp(scale q[t].k[j] - lse[t]), over j <= t;
// with ADD_FIRST it is added, and delta[t] = y[t].dy[t] for attention_dkv. Shapes as in lib/attention.glsl. One subgroup per LOCAL LANE_ROWS queries of a head, each lane with
// LANE_ROWS of them, LOCAL apart.
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
layout(binding = 4) buffer STATS { float stats[]; };
layout(binding = 5) readonly buffer MASK { uint mask[]; };
#include "lib/attention_logits.glsl"
layout(binding = 6) buffer DQ { V dq[]; };
INPUT(7, Y, y);

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + LOCAL * LANE_ROWS - 1) / (LOCAL * LANE_ROWS);
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * LOCAL * LANE_ROWS; // the late queries first: they see most keys, so they take longest
    vec4 query[LANE_ROWS][S4], up[LANE_ROWS][S4], sum[LANE_ROWS][S4];
    float log_sum[LANE_ROWS], less[LANE_ROWS];
    [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
        uint t = min(first + r * LOCAL + lane, p.queries - 1), from = q_row(b, t, h), from_up = y_row(b, t, h);
        log_sum[r] = stats[stat(b, h, t)];
        vec4 products = vec4(0);
        [[unroll]] for (uint s = 0; s < S4; s++) {
            query[r][s] = load4(q, from + s) * p.scale;
            up[r][s] = load4(dy, from_up + s);
            products += load4(y, from_up + s) * up[r][s];
            sum[r][s] = vec4(0);
        }
        less[r] = dot(products, vec4(1));
        if (first + r * LOCAL + lane < p.queries) stats[stat(b, h, t) + 1] = less[r];
    }
    uint keys = VISIBLE > WINDOW ? p.queries : min(first + LOCAL * LANE_ROWS, p.queries);
    for (uint j = first_key(first) / LOCAL * LOCAL; j < keys; j += LOCAL) {
        uint column = min(j + lane, keys - 1), row = k_row(b, column, h / p.group), values = v_row(b, column, h / p.group);
        vec4 x[LANE_ROWS][LANES4], d[LANE_ROWS][LANES4], key[S4], mine KEPT;
        [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
            [[unroll]] for (uint i = 0; i < LANES4; i++) {
                x[r][i] = vec4(CAPPED ? 0.0 : -log_sum[r]);
                d[r][i] = vec4(-less[r]);
            }
        }
        load_and_use(s, key[s] = load4(k, row + s); kept(mine, s) = load4(v, values + s);,
            dots(x, query, s, key[s])
            dots(d, up, s, kept(mine, s)))
        [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
            [[unroll]] for (uint i = 0; i < LANES4; i++) {
                uvec4 at = j + 4 * i + uvec4(0, 1, 2, 3), t = uvec4(first + r * LOCAL + lane);
                if (CAPPED) {
                    x[r][i] = capped(x[r][i]);
                    d[r][i] *= cap_slope(x[r][i]);
                    x[r][i] -= log_sum[r];
                }
                x[r][i] = seen(x[r][i], b, h, t, at);
                d[r][i] *= exp4(x[r][i]);
                if (VISIBLE == CAUSAL) d[r][i] = mix(d[r][i], vec4(0), greaterThan(at, t));
                else d[r][i] = mix(d[r][i], vec4(0), equal(x[r][i], vec4(-INFINITY)));
            }
        }
        [[unroll]] for (uint s = 0; s < S4; s++) sums(sum, s, d, key[s])
    }
    [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
        uint t = first + r * LOCAL + lane, to = q_row(b, t, h);
        if (t < p.queries) {
            [[unroll]] for (uint s = 0; s < S4; s++) {
                vec4 x = p.scale * sum[r][s];
                if (ADD_FIRST != 0) x += ld4(dq[to + s]);
                dq[to + s] = st4(x);
            }
        }
    }
}
