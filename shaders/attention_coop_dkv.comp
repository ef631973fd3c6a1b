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

void main() {
    uint groups = p.batch * (p.heads / p.group), tiles = (p.queries + TILE - 1) / TILE;
    if (flat_group() >= groups * tiles) return;
    uint g = flat_group() % (p.heads / p.group), b = flat_group() % groups / (p.heads / p.group);
    uint first = flat_group() / groups * TILE; // the early keys first: most queries see them, so they take longest
#define key_start(r) k_row(b, min(first + (r), p.queries - 1), g)
#define value_start(r) v_row(b, min(first + (r), p.queries - 1), g)
#define query_start(r) q_row(b, min(t + (r), p.queries - 1), h)
#define up_start(r) y_row(b, min(t + (r), p.queries - 1), h)
    FACTOR_A k_rows[STEPS], v_rows[STEPS];
    tile_rows(tile, k, key_start)
    tile_rows(other_tile, v, value_start)
    for (uint i = lane; i < TILE; i += LOCAL) row_at[i] = float(first + i);
    barrier();
    tile_own(k_rows, tile)
    tile_own(v_rows, other_tile)
    SUM sums_k[SUMS], sums_v[SUMS];
    [[unroll]] for (uint n = 0; n < SUMS; n++) sums_k[n] = sums_v[n] = SUM(0.0);
    for (uint h = g * p.group + p.first_head; h < g * p.group + p.last_head; h++) {
        for (uint t = first_query(first); t < last_query(first, TILE); t += TILE) {
            barrier();
            tile_rows(tile, q, query_start)
            tile_rows(other_tile, dy, up_start)
            for (uint i = lane; i < TILE; i += LOCAL) {
                uint row = stat(b, h, min(t + i, p.queries - 1));
                log_sum[i] = stats[row];
                delta[i] = stats[row + 1];
                column_at[i] = t + i < p.queries ? float(t + i) : -1.0; // which sees no key
            }
            barrier();
            SUM x[PARTS], d[PARTS], l, less, at, key;
            tile_dots(x, k_rows, tile)
            tile_dots(d, v_rows, other_tile)
            SPREAD_COLUMN(key, row_at, pair * MAT_M);
            [[unroll]] for (uint n = 0; n < PARTS; n++) {
                SPREAD_ROW(l, log_sum, (second * PARTS + n) * MAT_N);
                SPREAD_ROW(less, delta, (second * PARTS + n) * MAT_N);
                SPREAD_ROW(at, column_at, (second * PARTS + n) * MAT_N);
                each_weight(x[n], d[n], at, key, l, less)
                tile_weights(x[n], n)
            }
            barrier();
            tile_sums(sums_v, other_tile)
            barrier();
            [[unroll]] for (uint n = 0; n < PARTS; n++) tile_weights(d[n], n)
            barrier();
            tile_sums(sums_k, tile)
        }
    }
    [[unroll]] for (uint n = 0; n < SUMS; n++) sums_k[n] = sums_k[n] * p.scale;
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
