// attention_coop_dq: attention_dq, of attention_dq.comp, without a mask, on matrix cores: see lib/attention_coop.glsl. What K is
// multiplied by is rounded to the type of the tensors.
//newer
//types f16 bf16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
#include "lib/coop.glsl"
#include "lib/attention_coop.glsl"
#extension GL_KHR_shader_subgroup_shuffle : require
INPUT(0, Q, q);
INPUT(1, K, k);
INPUT(2, X, v);
INPUT(3, DY, dy);
layout(binding = 0) readonly buffer Q8 { uvec4 q8[]; };
layout(binding = 1) readonly buffer K8 { uvec4 k8[]; };
layout(binding = 2) readonly buffer X8 { uvec4 v8[]; };
layout(binding = 3) readonly buffer DY8 { uvec4 dy8[]; };
layout(binding = 4) buffer STATS { float stats[]; };
#define NO_MASK
#include "lib/attention_logits.glsl"
#include "lib/attention_coop_back.glsl"
layout(binding = 5) buffer DQ { V dq[]; };
INPUT(6, Y, y);

// Finds y.dy of each row for itself and the other kernel; SHARE invocations divide its groups among them.
const uint SHARE = LOCAL > ROWS ? LOCAL / ROWS : 1;
void find_delta(uint b, uint h, uint first) {
    [[unroll]] for (uint r = lane / SHARE; r < ROWS; r += LOCAL / SHARE) {
        uint t = min(first + r, p.queries - 1), row = stat(b, h, t), from = y_row(b, t, h);
        vec4 products = vec4(0);
        for (uint s = lane % SHARE; s < S4; s += SHARE) products += load4(y, from + s) * load4(dy, from + s);
        float sum = dot(products, vec4(1));
        [[unroll]] for (uint n = 1; n < SHARE; n *= 2) sum += subgroupShuffleXor(sum, n);
        if (lane % SHARE == 0) {
            log_sum[r] = log_start(stats[row]);
            delta[r] = -sum;
            if (first + r < p.queries) stats[row + 1] = sum;
        }
    }
}

void main() {
    uint heads = p.batch * p.heads, groups = (p.queries + ROWS - 1) / ROWS;
    if (flat_group() >= heads * groups) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (groups - 1 - flat_group() / heads) * ROWS; // the late queries first: they see most keys, so they take longest
    uint keys = min(first + ROWS, p.queries);
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define up_start(r) y_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
#define value_start(r) v_row(b, min(j + (r), keys - 1), h / p.group)
    FACTOR_A q_rows[STEPS], dy_rows[STEPS], slopes[FACTORS];
    SUM sums[SUMS];
    uvec4 next[COPIES];
    tile_rows(q, query_start)
    find_delta(b, h, first);
    start_numbers();
    barrier();
    tile_own(q_rows)
    barrier();
    tile_rows(dy, up_start)
    barrier();
    tile_own(dy_rows)
    barrier();
    uint j = first_key(first) / COLUMNS * COLUMNS, at = first + own_first; // at: where own rows begin
    tile_fetch(next, k, key_start)
    tile_put(next, 0)
    tile_fetch(next, v, value_start)
    tile_put(next, SECOND)
    barrier();
    for_sum(n) sums[n] = SUM(0.0);
    while (j < keys) {
        bool seeing = j < at + MAT_M, hiding = VISIBLE == WINDOW || j + COLUMNS > at + 1; // any of these keys
        uint now = j;
        j += COLUMNS;
        tile_fetch(next, v, value_start)
        SUM x[PARTS], d[PARTS], l;
        SPREAD_COLUMN(l, delta, own_first);
        for_part(n) d[n] = l;
        SPREAD_COLUMN(l, log_sum, own_first);
        for_part(n) x[n] = l;
        if (CAPPED)
            for_part(n) x[n] = SUM(0.0);
        if (seeing) {
            tile_dots(x, q_rows, 0)
            tile_dots(d, dy_rows, SECOND)
        }
        if (CAPPED) SPREAD_COLUMN(l, log_sum, own_first);
        for_part(n) {
            attention_slope(x[n], d[n], l, hiding, 1.0, int(at) - int(now + (part * PARTS + n) * MAT_N))
        }
        tile_weights(slopes, d)
        barrier(); // the values were read
        tile_put(next, SECOND)
        tile_fetch(next, k, key_start)
        if (seeing) tile_sums(sums, slopes, 0)
        barrier();
        tile_put(next, 0)
        barrier();
    }
    for_sum(n) sums[n] = sums[n] * p.scale;
#define put(r, s, x)                                  \
    if (first + r < p.queries) {                      \
        uint to = q_row(b, first + r, h) + s;         \
        dq[to] = st4(ADD_FIRST != 0 ? x + ld4(dq[to]) : x); \
    }
    tile_out(sums, put)
}
