// attention_dq: dq[t] = scale sum_j p[t,j] (dy[t].v[j] - delta[t]) k[j] with p[t,j] = exp(scale q[t].k[j] - lse[t]), over j <= t;
// with ADD_FIRST it is added, and delta[t] = y[t].dy[t] for attention_dkv. Shapes as in lib/attention.glsl. One workgroup per tile of queries of a head, as in
// lib/attention_tile.glsl.
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
layout(binding = 4) buffer STATS { float stats[]; };
layout(binding = 5) readonly buffer MASK { uint mask[]; };
#include "lib/attention_logits.glsl"
layout(binding = 6) buffer DQ { V dq[]; };
INPUT(7, Y, y);

shared float log_sum[ROWS], delta[ROWS];

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + ROWS - 1) / ROWS;
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * ROWS; // the late queries first: they see most keys, so they take longest
    uint keys = VISIBLE > WINDOW ? p.queries : min(first + ROWS, p.queries);
    vec4 sum[OWN][CHUNKS];
    [[unroll]] for (uint i = 0; i < OWN; i++)
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) sum[i][c] = vec4(0);
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define up_start(r) y_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
#define value_start(r) v_row(b, min(j + (r), keys - 1), h / p.group)
    if (lane < ROWS) {
        uint t = min(first + lane, p.queries - 1), row = stat(b, h, t), from = y_row(b, t, h);
        vec4 products = vec4(0);
        for (uint s = 0; s < S4; s++) products += load4(y, from + s) * load4(dy, from + s);
        log_sum[lane] = stats[row];
        delta[lane] = dot(products, vec4(1));
        if (first + lane < p.queries) stats[row + 1] = delta[lane];
    }
    if (WHOLE) {
        tile_fetch(own_0, ROWS, q, query_start)
        tile_fetch(own_1, ROWS, dy, up_start)
        tile_keep(row_chunk, 0, ROWS, own_0)
        tile_keep(row_chunk, 1, ROWS, own_1)
    }
    for (uint j = first_key(first) / TILE * TILE; j < keys; j += TILE) {
        vec4 x[OWN], d[OWN];
        [[unroll]] for (uint i = 0; i < OWN; i++) x[i] = d[i] = vec4(0);
        if (WHOLE) {
            tile_fetch(next_0, TILE, k, key_start)
            tile_fetch(next_1, TILE, v, value_start)
            barrier();
            tile_keep(column_chunk, 0, TILE, next_0)
            tile_keep(column_chunk, 1, TILE, next_1)
            barrier();
        }
        tile_dots(x, 0, q, query_start, k, key_start)
        tile_dots(d, 1, dy, up_start, v, value_start)
        [[unroll]] for (uint i = 0; i < OWN; i++) {
            uint r = OWN * down + i, t = first + r;
            vec4 c = capped(x[i] * p.scale);
            if (CAPPED) d[i] = (d[i] - delta[r]) * cap_slope(c);
            else d[i] -= delta[r];
            x[i] = seen(c, b, h, uvec4(t), j + columns);
            d[i] *= exp4(x[i] - log_sum[r]);
            if (VISIBLE == CAUSAL) d[i] = mix(d[i], vec4(0), greaterThan(j + columns, uvec4(min(t, keys - 1))));
            else d[i] = mix(d[i], vec4(0), equal(x[i], vec4(-INFINITY)));
        }
        tile_put(d)
        tile_sums(sum, 0, k, key_start)
    }
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        uint t = first + OWN * down + i;
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) {
            if (t < p.queries && 8 * c + across < S4) {
                uint to = q_row(b, t, h) + 8 * c + across;
                vec4 x = p.scale * sum[i][c];
                if (ADD_FIRST != 0) x += ld4(dq[to]);
                dq[to] = st4(x);
            }
        }
    }
}
