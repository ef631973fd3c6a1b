// attention_lanes: y[t] = sum_j softmax_j(scale q[t].k[j]) v[j] over the keys j <= start + t, and lse[t] = log sum_j exp(scale q[t].k[j]).
// Shapes as in lib/attention.glsl; start is START's first word with has_start, otherwise 0. One subgroup per LOCAL LANE_ROWS
// queries of a head, each lane with LANE_ROWS of them, LOCAL apart. The softmax is online: a running maximum, and sums that are
// scaled when it moves.
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
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(binding = 5) writeonly buffer STATS { float stats[]; };
layout(binding = 6) readonly buffer MASK { uint mask[]; };
#include "lib/attention_logits.glsl"

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + LOCAL * LANE_ROWS - 1) / (LOCAL * LANE_ROWS);
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * LOCAL * LANE_ROWS; // the late queries first: they see most keys, so they take longest
    uint before = p.has_start != 0 ? min(start, p.capacity) : 0;
    uint keys = VISIBLE > WINDOW ? p.capacity : min(min(first + LOCAL * LANE_ROWS, p.queries) + before, p.capacity);
    vec4 query[LANE_ROWS][S4], sum[LANE_ROWS][S4], total[LANE_ROWS];
    float top[LANE_ROWS], factor[LANE_ROWS];
    [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
        top[r] = -INFINITY;
        total[r] = vec4(0);
        uint from = q_row(b, min(first + r * LOCAL + lane, p.queries - 1), h);
        [[unroll]] for (uint s = 0; s < S4; s++) {
            query[r][s] = load4(q, from + s) * p.scale;
            sum[r][s] = vec4(0);
        }
    }
    for (uint j = first_key(first + before) / LOCAL * LOCAL; j < keys; j += LOCAL) {
        uint at = min(j + lane, keys - 1), row = k_row(b, at, h / p.group), values = v_row(b, at, h / p.group);
        vec4 x[LANE_ROWS][LANES4];
        [[unroll]] for (uint r = 0; r < LANE_ROWS; r++)
            [[unroll]] for (uint i = 0; i < LANES4; i++) x[r][i] = vec4(0);
        vec4 mine KEPT;
        load_and_use(s, kept(mine, s) = load4(k, row + s);, dots(x, query, s, kept(mine, s)))
        [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
            vec4 most = vec4(top[r]);
            [[unroll]] for (uint i = 0; i < LANES4; i++) {
                uvec4 key = j + 4 * i + uvec4(0, 1, 2, 3), t = uvec4(first + before + r * LOCAL + lane);
                x[r][i] = capped(x[r][i]);
                if (VISIBLE == CAUSAL) x[r][i] = mix(x[r][i], vec4(-INFINITY), greaterThan(key, t));
                else x[r][i] = seen(x[r][i], b, h, t, key);
                most = max(most, x[r][i]);
            }
            float larger = max(max(most.x, most.y), max(most.z, most.w));
            float reference = VISIBLE != CAUSAL && larger == -INFINITY ? 0.0 : larger;
            factor[r] = exp1(top[r] - reference);
            total[r] *= factor[r];
            top[r] = larger;
            [[unroll]] for (uint i = 0; i < LANES4; i++) {
                x[r][i] = exp4(x[r][i] - reference);
                total[r] += x[r][i];
            }
        }
        load_and_use(s, kept(mine, s) = load4(v, values + s);,
            [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) sum[r][s] *= factor[r];
            sums(sum, s, x, kept(mine, s)))
    }
    [[unroll]] for (uint r = 0; r < LANE_ROWS; r++) {
        uint t = first + r * LOCAL + lane;
        if (t < p.queries) {
            float all = dot(total[r], vec4(1));
            bool nothing = VISIBLE != CAUSAL && all == 0;
            if (nothing) all = 1.0;
            [[unroll]] for (uint s = 0; s < S4; s++) y[y_row(b, t, h) + s] = st4(sum[r][s] / all);
            stats[stat(b, h, t)] = nothing ? NOTHING_SEEN : top[r] + log1(all);
        }
    }
}
