// attention_coop: attention, of attention.comp, without a mask, on matrix cores: see lib/attention_coop.glsl. Logits are f32, and
// their exponentials are rounded to the type of the tensors before they are multiplied by V. LOCAL / TILE invocations share
// a row of the softmax.
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
layout(binding = 0) readonly buffer Q8 { uvec4 q8[]; };
layout(binding = 1) readonly buffer K8 { uvec4 k8[]; };
layout(binding = 2) readonly buffer X8 { uvec4 v8[]; };
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(binding = 5) writeonly buffer STATS { float stats[]; };
#define NO_MASK
#include "lib/attention_logits.glsl"

const uint STRIDE_L = TILE / 4 + 1;
shared vec4 logits[TILE * STRIDE_L]; // [row][column / 4]
shared float factors[TILE];          // what the sums of a row are multiplied by

const uint SHARE = LOCAL / TILE, GROUPS = TILE / 4 / SHARE; // invocations of a row, and groups of four columns of each

float share_max(float x) {
    [[unroll]] for (uint n = 1; n < SHARE; n *= 2) x = max(x, subgroupShuffleXor(x, n));
    return x;
}
float share_sum(float x) {
    [[unroll]] for (uint n = 1; n < SHARE; n *= 2) x += subgroupShuffleXor(x, n);
    return x;
}

void main() {
    uint heads = p.batch * p.heads, tiles = (p.queries + TILE - 1) / TILE;
    if (flat_group() >= heads * tiles) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (tiles - 1 - flat_group() / heads) * TILE; // the late queries first: they see most keys, so they take longest
    uint before = p.has_start != 0 ? min(start, p.capacity) : 0;
    uint keys = min(min(first + TILE, p.queries) + before, p.capacity);
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
#define value_start(r) v_row(b, min(j + (r), keys - 1), h / p.group)
    FACTOR_A rows[STEPS];
    tile_rows(tile, q, query_start)
    barrier();
    tile_own(rows, tile)
    SUM sums[SUMS], spread;
    [[unroll]] for (uint n = 0; n < SUMS; n++) sums[n] = SUM(0.0);
    uint row = lane / SHARE, t = first + before + row;
    float top = -INFINITY, total = 0.0;
    for (uint j = first_key(first + before) / TILE * TILE; j < keys; j += TILE) {
        barrier(); // what was read from tile has been
        tile_rows(tile, k, key_start)
        barrier();
        SUM dots[PARTS];
        tile_dots(dots, rows, tile)
        [[unroll]] for (uint n = 0; n < PARTS; n++)
            coopMatStore(dots[n], logits, pair * MAT_M * STRIDE_L + (second * PARTS + n) * MAT_N / 4, STRIDE_L, BY_ROWS);
        barrier();
        tile_rows(tile, v, value_start)
        vec4 x[GROUPS];
        float larger = top;
        [[unroll]] for (uint i = 0; i < GROUPS; i++) {
            uint group = lane % SHARE + i * SHARE;
            uvec4 key = j + 4 * group + uvec4(0, 1, 2, 3);
            x[i] = capped(logits[row * STRIDE_L + group] * p.scale);
            if (VISIBLE == WINDOW) x[i] = seen(x[i], b, h, uvec4(t), key);
            else x[i] = mix(x[i], vec4(-INFINITY), greaterThan(key, uvec4(t)));
            larger = max(larger, max(max(x[i].x, x[i].y), max(x[i].z, x[i].w)));
        }
        larger = share_max(larger);
        float reference = larger == -INFINITY ? 0.0 : larger, factor = exp1(top - reference);
        top = larger;
        vec4 terms = vec4(0);
        [[unroll]] for (uint i = 0; i < GROUPS; i++) {
            vec4 e = exp4(x[i] - reference);
            terms += e;
            weights[row * STRIDE_W + lane % SHARE + i * SHARE] = st4(e);
        }
        total = total * factor + dot(terms, vec4(1));
        if (lane % SHARE == 0) factors[row] = factor;
        barrier();
        SPREAD_COLUMN(spread, factors, pair * MAT_M);
        [[unroll]] for (uint n = 0; n < SUMS; n++) sums[n] *= spread;
        tile_sums(sums, tile)
    }
    total = share_sum(total);
    barrier();
    if (lane % SHARE == 0) {
        bool nothing = total == 0.0;
        factors[row] = nothing ? 0.0 : 1.0 / total;
        if (first + row < p.queries) stats[stat(b, h, first + row)] = nothing ? NOTHING_SEEN : top + log1(total);
    }
    barrier();
    SPREAD_COLUMN(spread, factors, pair * MAT_M);
    [[unroll]] for (uint n = 0; n < SUMS; n++) sums[n] *= spread;
#define put(r, s, x) if (first + r < p.queries) y[y_row(b, first + r, h) + s] = st4(x);
    tile_out(sums, put)
}
