// attention: y[t] = sum_j softmax_j(scale q[t].k[j]) v[j] over the keys j <= start + t, and lse[t] = log sum_j exp(scale q[t].k[j]).
// Shapes as in lib/attention.glsl; start is START's first word with has_start, otherwise 0. One workgroup per tile of
// queries of a head, as in lib/attention_tile.glsl. The softmax is online: a running maximum, and sums that are scaled when
// it moves.
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
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(binding = 5) writeonly buffer STATS { float stats[]; };
layout(binding = 6) readonly buffer MASK { uint mask[]; };
#include "lib/attention_logits.glsl"

shared float part[ROWS][9]; // [row][across]

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + ROWS - 1) / ROWS;
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * ROWS; // the late queries first: they see most keys, so they take longest
    uint before = p.has_start != 0 ? min(start, p.capacity) : 0;
    uint keys = VISIBLE > WINDOW ? p.capacity : min(min(first + ROWS, p.queries) + before, p.capacity);
    vec4 sum[OWN][CHUNKS], total[OWN];
    float top[OWN];
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        top[i] = -INFINITY;
        total[i] = vec4(0);
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) sum[i][c] = vec4(0);
    }
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
#define value_start(r) v_row(b, min(j + (r), keys - 1), h / p.group)
    if (WHOLE) {
        tile_fetch(own, ROWS, q, query_start)
        tile_keep(row_chunk, 0, ROWS, own)
    }
    for (uint j = first_key(first + before) / TILE * TILE; j < keys; j += TILE) {
        vec4 x[OWN];
        [[unroll]] for (uint i = 0; i < OWN; i++) x[i] = vec4(0);
        if (WHOLE) {
            tile_fetch(next_0, TILE, k, key_start)
            tile_fetch(next_1, TILE, v, value_start)
            barrier();
            tile_keep(column_chunk, 0, TILE, next_0)
            tile_keep(column_chunk, 1, TILE, next_1)
            barrier();
        }
        tile_dots(x, 0, q, query_start, k, key_start)
        [[unroll]] for (uint i = 0; i < OWN; i++) {
            uvec4 t = uvec4(first + before + OWN * down + i);
            x[i] = capped(x[i] * p.scale);
            if (VISIBLE == CAUSAL) x[i] = mix(x[i], vec4(-INFINITY), greaterThan(j + columns, t));
            else x[i] = seen(x[i], b, h, t, j + columns);
            part[OWN * down + i][across] = max(max(x[i].x, x[i].y), max(x[i].z, x[i].w));
        }
        barrier();
        [[unroll]] for (uint i = 0; i < OWN; i++) {
            float larger = top[i];
            for (uint n = 0; n < 8; n++) larger = max(larger, part[OWN * down + i][n]);
            float reference = VISIBLE != CAUSAL && larger == -INFINITY ? 0.0 : larger, factor = exp1(top[i] - reference);
            x[i] = exp4(x[i] - reference);
            total[i] = total[i] * factor + x[i];
            top[i] = larger;
            [[unroll]] for (uint c = 0; c < CHUNKS; c++) sum[i][c] *= factor;
        }
        tile_put(x)
        tile_sums(sum, 1, v, value_start)
    }
    [[unroll]] for (uint i = 0; i < OWN; i++) part[OWN * down + i][across] = dot(total[i], vec4(1));
    barrier();
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        uint t = first + OWN * down + i;
        if (t < p.queries) {
            float all = 0.0;
            for (uint n = 0; n < 8; n++) all += part[OWN * down + i][n];
            bool nothing = VISIBLE != CAUSAL && all == 0;
            if (nothing) all = 1.0;
            [[unroll]] for (uint c = 0; c < CHUNKS; c++)
                if (8 * c + across < S4) y[y_row(b, t, h) + 8 * c + across] = st4(sum[i][c] / all);
            if (across == 0) stats[stat(b, h, t)] = nothing ? NOTHING_SEEN : top[i] + log1(all);
        }
    }
}
