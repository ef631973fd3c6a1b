// attention_coop: attention, of attention.comp, without a mask, on matrix cores: see lib/attention_coop.glsl. Logits are f32, and
// their exponentials are rounded to the type of the tensors before they are multiplied by V: exp2 of the device, which Vulkan
// allows an error of 3 + 2|x| units in the last place of f32, is exact enough. Products stay in registers: of all
// matrices in a row the largest elements, and at the end the sums, go through shared memory as one.
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
layout(binding = 0) readonly buffer Q8 { uvec4 q8[]; };
layout(binding = 1) readonly buffer K8 { uvec4 k8[]; };
layout(binding = 2) readonly buffer X8 { uvec4 v8[]; };
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(binding = 5) writeonly buffer STATS { float stats[]; };
#define NO_MASK
#include "lib/attention_logits.glsl"

const float LOG2E = 1.44269504089, LN2 = 0.69314718056;
const float LOWEST = -3e38; // finite, so that a row which has seen no key yet has no NaN

shared float largest[ROWS]; // of the logits of a row, as exponents of 2
shared float factors[ROWS]; // what the sums of a row are multiplied by

const uint STORED = SPLIT * MAT_N / 2;
// Two of the numbers in row i of the matrices that the subgroups of this team stored.
vec2 stored(uint i, uint two) { return uintBitsToFloat(weights[team * TEAM_W + two / (MAT_N / 2) * SIZE_F + i * STRIDE_F + two % (MAT_N / 2)]); }

// From the products that are stored: the largest logits of the rows from `from` on, now, and what that makes of the sums before.
void raise_largest(uint from, float unit) {
    [[unroll]] for (uint n = 0; n < MAT_M; n += SUBGROUP) {
        uint i = n + gl_SubgroupInvocationID;
        if (i >= MAT_M || part > 0) break;
        float x = -INFINITY, before = largest[from + i];
        [[unroll]] for (uint two = 0; two < STORED; two++) x = max(x, max(stored(i, two).x, stored(i, two).y));
        largest[from + i] = max(before, x * unit);
        factors[from + i] = exp2(before - largest[from + i]);
    }
}

// From the sums that are stored: what divides the rows from `from` on, and their stats from `to` on, of rows before end.
void divide_rows(uint from, uint to, uint end) {
    [[unroll]] for (uint n = 0; n < MAT_M; n += SUBGROUP) {
        uint i = n + gl_SubgroupInvocationID;
        if (i >= MAT_M || part > 0) break;
        float sum = 0.0;
        [[unroll]] for (uint two = 0; two < STORED; two++) sum += stored(i, two).x + stored(i, two).y;
        bool nothing = sum == 0.0;
        factors[from + i] = nothing ? 0.0 : 1.0 / sum;
        if (from + i < end) stats[to + 2 * i] = nothing ? NOTHING_SEEN : largest[from + i] * LN2 + log1(sum);
    }
}

void main() {
    uint heads = p.batch * p.heads, groups = (p.queries + ROWS - 1) / ROWS;
    if (flat_group() >= heads * groups) return;
    uint h = flat_group() % p.heads, b = flat_group() / p.heads % p.batch;
    uint first = (groups - 1 - flat_group() / heads) * ROWS; // the late queries first: they see most keys, so they take longest
    uint before = p.has_start != 0 ? min(start, p.capacity) : 0;
    uint keys = min(min(first + ROWS, p.queries) + before, p.capacity);
#define query_start(r) q_row(b, min(first + (r), p.queries - 1), h)
#define key_start(r) k_row(b, min(j + (r), keys - 1), h / p.group)
#define value_start(r) v_row(b, min(j + (r), keys - 1), h / p.group)
    uint j = first_key(first + before) / COLUMNS * COLUMNS, at = first + before + own_first; // at: where own rows begin
    float unit = CAPPED ? LOG2E : p.scale * LOG2E; // of what the products become, to exponents of 2
    FACTOR_A rows[STEPS], e_rows[FACTORS];
    SUM sums[SUMS], total = SUM(0.0);
    uvec4 next[COPIES];
    tile_fetch(next, k, key_start)
    tile_rows(q, query_start)
    for (uint r = lane; r < ROWS; r += LOCAL) largest[r] = LOWEST;
    start_numbers();
    barrier();
    tile_own(rows)
    barrier();
    tile_put(next, 0)
    barrier();
    for_sum(n) sums[n] = SUM(0.0);
    while (j < keys) {
        bool seeing = j < at + MAT_M; // any of these keys
        tile_fetch(next, v, value_start)
        SUM x[PARTS];
        for_part(n) x[n] = SUM(0.0);
        if (seeing) tile_dots(x, rows, 0)
        if (CAPPED)
            for_part(n)
                each_element(x[n], e) x[n][e] = capped(vec4(x[n][e] * p.scale)).x;
        if (VISIBLE == WINDOW || j + COLUMNS > at + 1) {
            own_back(back)
            for_part(n)
                each_element(back, e)
                    if (hidden(back[e] + float(int(at) - int(j + (part * PARTS + n) * MAT_N)))) x[n][e] = -INFINITY;
        }
        SUM top = x[0], factor;
        [[unroll]] for (uint n = 1; n < PARTS; n++)
            each_element(top, e) top[e] = max(top[e], x[n][e]);
        coopMatStore(top, weights, own_floats, STRIDE_F, BY_ROWS);
        team_barrier();
        raise_largest(own_first, unit);
        team_barrier();
        SPREAD_COLUMN(top, largest, own_first);
        SPREAD_COLUMN(factor, factors, own_first);
        total *= factor;
        for_sum(n) sums[n] *= factor;
        for_part(n) {
            each_element(top, e) x[n][e] = exp2(fma(x[n][e], unit, -top[e]));
            total += x[n];
        }
        tile_weights(e_rows, x)
        tile_put(next, SECOND)
        j += COLUMNS;
        barrier(); // the values are there, and the keys were read
        tile_fetch(next, k, key_start)
        if (seeing) tile_sums(sums, e_rows, SECOND)
        tile_put(next, 0)
        barrier();
    }
    coopMatStore(total, weights, own_floats, STRIDE_F, BY_ROWS);
    team_barrier();
    divide_rows(own_first, stat(b, h, first + own_first), p.queries - first);
    team_barrier();
    SUM factor;
    SPREAD_COLUMN(factor, factors, own_first);
    for_sum(n) sums[n] *= factor;
#define put(r, s, x) if (first + r < p.queries) y[y_row(b, first + r, h) + s] = st4(x);
    tile_out(sums, put)
}
