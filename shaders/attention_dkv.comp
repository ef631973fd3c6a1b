// attention_dkv: over the queries t >= j of the heads h that read a key head, in order,
//   dv[j] = sum_t p[t,j] dy[t]   dk[j] = scale sum_t p[t,j] (dy[t].v[j] - delta[t]) q[t]   with p[t,j] = exp(scale q[t].k[j] - lse[t])
// dk is added with ADD_FIRST, dv with ADD_SECOND. Shapes as in lib/attention.glsl. One workgroup per tile of keys of a key
// head, as in lib/attention_tile.glsl.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
#include "lib/ids.glsl"
#include "lib/attention_tile.glsl"
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
    uint groups = p.batch * (p.heads / p.group), tiles = (p.queries + ROWS - 1) / ROWS;
    if (flat_group() >= groups * tiles) return;
    uint g = flat_group() % (p.heads / p.group), b = flat_group() % groups / (p.heads / p.group);
    uint first = flat_group() / groups * ROWS; // the early keys first: most queries see them, so they take longest
    vec4 sum_k[OWN][CHUNKS], sum_v[OWN][CHUNKS];
    [[unroll]] for (uint i = 0; i < OWN; i++)
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) sum_k[i][c] = sum_v[i][c] = vec4(0);
#define key_start(r) k_row(b, min(first + (r), p.queries - 1), g)
#define value_start(r) v_row(b, min(first + (r), p.queries - 1), g)
#define query_start(r) q_row(b, min(t + (r), p.queries - 1), h)
#define up_start(r) y_row(b, min(t + (r), p.queries - 1), h)
    if (WHOLE) {
        tile_fetch(own_0, ROWS, k, key_start)
        tile_fetch(own_1, ROWS, v, value_start)
        tile_keep(row_chunk, 0, ROWS, own_0)
        tile_keep(row_chunk, 1, ROWS, own_1)
    }
    for (uint h = g * p.group + p.first_head; h < g * p.group + p.last_head; h++) {
        for (uint t = first_query(first); t < last_query(first, ROWS); t += TILE) {
            vec4 x[OWN], d[OWN], log_sum, less;
            [[unroll]] for (uint i = 0; i < OWN; i++) x[i] = d[i] = vec4(0);
            if (WHOLE) {
                tile_fetch(next_0, TILE, q, query_start)
                tile_fetch(next_1, TILE, dy, up_start)
                barrier();
                tile_keep(column_chunk, 0, TILE, next_0)
                tile_keep(column_chunk, 1, TILE, next_1)
                barrier();
            }
            tile_dots(x, 0, k, key_start, q, query_start)
            tile_dots(d, 1, v, value_start, dy, up_start)
            uvec4 at = t + columns;
            [[unroll]] for (uint n = 0; n < 4; n++) {
                uint row = stat(b, h, min(at[n], p.queries - 1));
                log_sum[n] = stats[row];
                less[n] = stats[row + 1];
            }
            [[unroll]] for (uint i = 0; i < OWN; i++) {
                uvec4 key = uvec4(first + OWN * down + i);
                vec4 c = capped(x[i] * p.scale);
                x[i] = exp4(seen(c, b, h, at, key) - log_sum);
                x[i] = mix(x[i], vec4(0), greaterThanEqual(at, uvec4(p.queries)));
                if (VISIBLE == CAUSAL) x[i] = mix(x[i], vec4(0), greaterThan(key, at));
                d[i] = (d[i] - less) * x[i];
                if (CAPPED) d[i] *= cap_slope(c);
            }
            tile_put(x)
            tile_sums(sum_v, 1, dy, up_start)
            tile_put(d)
            tile_sums(sum_k, 0, q, query_start)
        }
    }
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        uint j = first + OWN * down + i;
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) {
            if (j < p.queries && 8 * c + across < S4) {
                uint to_k = k_row(b, j, g) + 8 * c + across, to_v = v_row(b, j, g) + 8 * c + across;
                vec4 x = p.scale * sum_k[i][c], z = sum_v[i][c];
                if (ADD_FIRST != 0) x += ld4(dk[to_k]);
                if (ADD_SECOND != 0) z += ld4(dv[to_v]);
                dk[to_k] = st4(x);
                dv[to_v] = st4(z);
            }
        }
    }
}
