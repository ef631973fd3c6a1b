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

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + TILE - 1) / TILE;
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * TILE; // the late queries first: they see most keys, so they take longest
    uint keys = min(first + TILE, p.queries);
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define up_start(r) y_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
#define value_start(r) v_row(b, min(j + (r), keys - 1), h / p.group)
    FACTOR_A q_rows[STEPS], dy_rows[STEPS];
    tile_rows(tile, q, query_start)
    tile_rows(other_tile, dy, up_start)
    for (uint i = lane; i < TILE; i += LOCAL) {
        uint t = min(first + i, p.queries - 1), row = stat(b, h, t), from = y_row(b, t, h);
        vec4 products = vec4(0);
        for (uint s = 0; s < S4; s++) products += load4(y, from + s) * load4(dy, from + s);
        log_sum[i] = stats[row];
        delta[i] = dot(products, vec4(1));
        if (first + i < p.queries) stats[row + 1] = delta[i];
        row_at[i] = float(t);
    }
    barrier();
    tile_own(q_rows, tile)
    tile_own(dy_rows, other_tile)
    SUM sums[SUMS];
    [[unroll]] for (uint n = 0; n < SUMS; n++) sums[n] = SUM(0.0);
    for (uint j = first_key(first) / TILE * TILE; j < keys; j += TILE) {
        barrier();
        tile_rows(tile, k, key_start)
        tile_rows(other_tile, v, value_start)
        for (uint i = lane; i < TILE; i += LOCAL) column_at[i] = float(j + i);
        barrier();
        SUM x[PARTS], d[PARTS], l, less, at, key;
        tile_dots(x, q_rows, tile)
        tile_dots(d, dy_rows, other_tile)
        SPREAD_COLUMN(l, log_sum, pair * MAT_M);
        SPREAD_COLUMN(less, delta, pair * MAT_M);
        SPREAD_COLUMN(at, row_at, pair * MAT_M);
        [[unroll]] for (uint n = 0; n < PARTS; n++) {
            SPREAD_ROW(key, column_at, (second * PARTS + n) * MAT_N);
            each_weight(x[n], d[n], at, key, l, less)
            tile_weights(d[n], n)
        }
        barrier();
        tile_sums(sums, tile)
    }
    [[unroll]] for (uint n = 0; n < SUMS; n++) sums[n] = sums[n] * p.scale;
#define put(r, s, x)                                  \
    if (first + r < p.queries) {                      \
        uint to = q_row(b, first + r, h) + s;         \
        dq[to] = st4(ADD_FIRST != 0 ? x + ld4(dq[to]) : x); \
    }
    tile_out(sums, put)
}
