// attention: y[t] = sum_j softmax_j(scale q[t].k[j]) v[j] over the keys j <= start + t, and lse[t] = log sum_j exp(scale q[t].k[j]).
// Shapes as in lib/attention.glsl; start is START's first word with has_start, otherwise 0. One workgroup per tile of
// queries of a head, as in lib/attention_tile.glsl. The softmax is online: a running maximum, and sums that are scaled when
// it moves.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
#include "lib/attention_tile.glsl"
INPUT(0, Q, q);
INPUT(1, K, k);
INPUT(2, X, v);
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(binding = 5) writeonly buffer LSE { float lse[]; };

shared float part[TILE][9]; // [row][across]

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + TILE - 1) / TILE;
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * TILE; // the longest rows first
    uint before = p.has_start != 0 ? min(start, p.capacity) : 0;
    uint keys = min(min(first + TILE, p.queries) + before, p.capacity);
    vec4 sum[4][CHUNKS], total[4];
    float top[4];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        top[i] = -INFINITY;
        total[i] = vec4(0);
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) sum[i][c] = vec4(0);
    }
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
    for (uint j = 0; j < keys; j += TILE) {
        vec4 x[4] = vec4[4](vec4(0), vec4(0), vec4(0), vec4(0));
        tile_dots(x, q, query_start, k, key_start)
        [[unroll]] for (uint i = 0; i < 4; i++) {
            x[i] = mix(x[i] * p.scale, vec4(-INFINITY), greaterThan(j + columns, uvec4(first + before + 4 * down + i)));
            part[4 * down + i][across] = max(max(x[i].x, x[i].y), max(x[i].z, x[i].w));
        }
        barrier();
        [[unroll]] for (uint i = 0; i < 4; i++) {
            float larger = top[i];
            for (uint n = 0; n < 8; n++) larger = max(larger, part[4 * down + i][n]);
            float factor = exp1(top[i] - larger);
            x[i] = exp4(x[i] - larger);
            total[i] = total[i] * factor + x[i];
            top[i] = larger;
            [[unroll]] for (uint c = 0; c < CHUNKS; c++) sum[i][c] *= factor;
        }
        tile_put(x)
        tile_sums(sum, v, key_start)
    }
    [[unroll]] for (uint i = 0; i < 4; i++) part[4 * down + i][across] = dot(total[i], vec4(1));
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++) {
        uint t = first + 4 * down + i;
        if (t < p.queries) {
            float all = 0.0;
            for (uint n = 0; n < 8; n++) all += part[4 * down + i][n];
            [[unroll]] for (uint c = 0; c < CHUNKS; c++)
                if (8 * c + across < S4) y[q_row(b, t, h) + 8 * c + across] = st4(sum[i][c] / all);
            if (across == 0) lse[stat(b, h, t)] = top[i] + log1(all);
        }
    }
}
