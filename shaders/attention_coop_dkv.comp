// attention_coop_dkv: attention_dkv, of attention_dkv.comp, without a mask, on matrix cores: see lib/attention_coop.glsl. What Q
// and DY are multiplied by is rounded to the type of the tensors.
//newer
//types f16 bf16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
#include "lib/coop.glsl"
#include "lib/attention_coop.glsl"
INPUT(0, Q, q);
INPUT(1, K, k);
INPUT(2, X, v);
INPUT(3, DY, dy);
layout(binding = 0) readonly buffer Q8 { uvec4 q8[]; };
layout(binding = 1) readonly buffer K8 { uvec4 k8[]; };
layout(binding = 2) readonly buffer X8 { uvec4 v8[]; };
layout(binding = 3) readonly buffer DY8 { uvec4 dy8[]; };
layout(binding = 4) readonly buffer STATS { float stats[]; };
#define NO_MASK
#include "lib/attention_logits.glsl"
#include "lib/attention_coop_back.glsl"
layout(binding = 5) buffer DK { V dk[]; };
layout(binding = 6) buffer DV { V dv[]; };

const uint PAIRS = (COLUMNS + LOCAL - 1) / LOCAL; // pairs of numbers that an invocation loads of stats

void main() {
    uint heads = p.heads / p.group, groups = (p.queries + ROWS - 1) / ROWS;
    if (flat_group() >= p.batch * heads * groups) return;
    uint g = flat_group() % heads, b = flat_group() / heads % p.batch;
    uint first = flat_group() / (p.batch * heads) * ROWS; // the early keys first: most queries see them, so they take longest
#define key_start(r) k_row(b, min(first + (r), p.queries - 1), g)
#define value_start(r) v_row(b, min(first + (r), p.queries - 1), g)
#define query_start(r) q_row(b, min(t + (r), p.queries - 1), h)
#define up_start(r) y_row(b, min(t + (r), p.queries - 1), h)
#define stats_fetch()                                                                             \
    [[unroll]] for (uint i_ = 0; i_ < PAIRS; i_++) {                                              \
        uint t_ = t + i_ * LOCAL + lane, row_ = stat(b, h, min(t_, p.queries - 1));               \
        next_stats[i_] = t_ < p.queries ? vec2(stats[row_], stats[row_ + 1]) : vec2(NOTHING_SEEN, 0); \
    }
#define stats_put()                                                                                 \
    [[unroll]] for (uint i_ = 0; i_ < PAIRS; i_++) {                                              \
        uint c_ = i_ * LOCAL + lane;                                                              \
        if (c_ < COLUMNS) {                                                                       \
            log_sum[c_] =         log_start(next_stats[i_].x);                                            \
            delta[c_] =          -next_stats[i_].y;                                                        \
        }                                                                                         \
    }
    FACTOR_A k_rows[STEPS], v_rows[STEPS], factors[FACTORS];
    SUM sums_k[SUMS], sums_v[SUMS];
    uvec4 next[COPIES];
    vec2 next_stats[PAIRS];
    tile_rows(k, key_start)
    start_numbers();
    barrier();
    tile_own(k_rows)
    barrier();
    tile_rows(v, value_start)
    barrier();
    tile_own(v_rows)
    barrier();
    uint at = first + own_first; // where own rows begin
    uint t0 = first_query(first), turns = (last_query(first, ROWS) - t0 + COLUMNS - 1) / COLUMNS;
    uint h = g * p.group + p.first_head, t = t0;
    stats_fetch()
    stats_put()
    tile_fetch(next, q, query_start)
    tile_put(next, 0)
    tile_fetch(next, dy, up_start)
    tile_put(next, SECOND)
    barrier();
    for_sum(n) sums_k[n] = sums_v[n] = SUM(0.0);
    for (uint turn = 1; turn <= turns * (p.last_head - p.first_head); turn++) {
        bool seeing = t + COLUMNS > at, hiding = VISIBLE == WINDOW || t + 1 < at + MAT_M; // from any of these queries
        uint now = t;
        t += COLUMNS;
        if (turn % turns == 0) { // the next head, or once more the last
            h = min(h + 1, p.heads - 1);
            t = t0;
        }
        tile_fetch(next, dy, up_start)
        stats_fetch()
        SUM x[PARTS], d[PARTS], l;
        for_part(n) {
            SPREAD_ROW(l, delta, (part * PARTS + n) * MAT_N);
            d[n] = l;
            SPREAD_ROW(l, log_sum, (part * PARTS + n) * MAT_N);
            x[n] = l;
            if (CAPPED)
                x[n] = SUM(0.0);
        }
        if (seeing) {
            tile_dots(x, k_rows, 0)
            tile_dots(d, v_rows, SECOND)
        }
        for_part(n) {
            if (CAPPED) SPREAD_ROW(l, log_sum, (part * PARTS + n) * MAT_N);
            attention_slope(x[n], d[n], l, hiding, -1.0, int(at) - int(now + (part * PARTS + n) * MAT_N))
        }
        tile_weights(factors, x)
        if (seeing) tile_sums(sums_v, factors, SECOND)
        barrier(); // the gradients of y were read, and the weights
        tile_put(next, SECOND)
        tile_fetch(next, q, query_start)
        tile_weights(factors, d)
        if (seeing) tile_sums(sums_k, factors, 0)
        stats_put()
        barrier();
        tile_put(next, 0)
        barrier();
    }
    for_sum(n) sums_k[n] = sums_k[n] * p.scale;
#define put_k(r, s, x)                                \
    if (first + r < p.queries) {                      \
        uint to = k_row(b, first + r, g) + s;         \
        dk[to] = st4(ADD_FIRST != 0 ? x + ld4(dk[to]) : x); \
    }
#define put_v(r, s, x)                                \
    if (first + r < p.queries) {                      \
        uint to = v_row(b, first + r, g) + s;         \
        dv[to] = st4(ADD_SECOND != 0 ? x + ld4(dv[to]) : x); \
    }
    tile_out(sums_k, put_k)
    tile_out(sums_v, put_v)
}
