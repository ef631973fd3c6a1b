// attention_decode: attention of few queries to long caches. y[t] = sum_j softmax_j(scale q[t].k[j]) v[j] over the keys
// j <= start + t. Shapes as in lib/attention.glsl. One workgroup per row of y. SHARE neighbors take a key together, each of them
// the groups of its row that are SHARE apart, so that registers have room for those of the query and of the sum, and neighbors
// read neighboring memory. KEYS keys are taken at a time, each with a softmax of its own, online, and those are joined at the end.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/attention.glsl"
INPUT(0, Q, q);
INPUT(1, K, k);
INPUT(2, X, v);
layout(binding = 3) readonly buffer START { uint start; };
layout(binding = 4) writeonly buffer Y { V y[]; };
layout(constant_id = 11) const uint SHARE = 1; // a power of two, up to LOCAL
const uint KEYS = LOCAL / SHARE, OWN4 = (S4 + SHARE - 1) / SHARE;

// Group i of those that an invocation has, and whether the row has it.
#define own(i) (lane % SHARE + (i) * SHARE)
#define in_row(i) (S4 % SHARE == 0 || own(i) < S4)

shared float dots[2][SHARE > 1 ? LOCAL : 1];

// The sum of x over the neighbors that share a key. What they read in one page they may still read while the next one is written.
float share_sum(float x, uint page) {
    if (SHARE == 1) return x;
    dots[page][lane] = x;
    barrier();
    float sum = 0.0;
    [[unroll]] for (uint n = 0; n < SHARE; n++) sum += dots[page][lane / SHARE * SHARE + n];
    return sum;
}

// The sum of x over the invocations that have the same groups, of one key each: a tree, as in reduce_sum.
vec4 keys_sum(vec4 x) {
    if (SHARE == 1) return reduce_sum(x);
    barrier();
    sum_scratch[lane] = x;
    for (uint width = LOCAL / 2; width >= SHARE; width /= 2) {
        barrier();
        if (lane < width) sum_scratch[lane] += sum_scratch[lane + width];
    }
    barrier();
    return sum_scratch[lane % SHARE];
}

float capped(float x) {
    if (CAPPED) return p.cap * tanh4(vec4(x / p.cap)).x;
    return x;
}

void main() {
    if (flat_group() >= p.batch * p.queries * p.heads) return;
    uint h = flat_group() % p.heads, t = flat_group() / p.heads % p.queries, b = flat_group() / p.heads / p.queries;
    uint row = q_row(b, t, h), keys = min(min(start, p.capacity) + t + 1, p.capacity);
    vec4 query[OWN4], sum[OWN4], value[OWN4];
    [[unroll]] for (uint i = 0; i < OWN4; i++) {
        query[i] = sum[i] = value[i] = vec4(0);
        if (in_row(i)) query[i] = load4(q, row + own(i)) * p.scale;
    }
    float top = -INFINITY, total = 0.0;
    uint page = 0;
    for (uint first = first_key(keys - 1); first < keys; first += KEYS) { // as often for all: lavapipe runs the longest loop for each
        uint j = first + lane / SHARE, at = min(j, keys - 1), from = k_row(b, at, h / p.group), values = v_row(b, at, h / p.group);
        vec4 products = vec4(0);
        [[unroll]] for (uint i = 0; i < OWN4; i++) if (in_row(i)) products += query[i] * load4(k, from + own(i));
        if (SHARE > 1) [[unroll]] for (uint i = 0; i < OWN4; i++) if (in_row(i)) value[i] = load4(v, values + own(i)); // no wait for them behind the barrier
        float x = capped(share_sum(dot(products, vec4(1)), page)), larger = max(top, x);
        page = 1 - page;
        vec2 e = exp4(vec4(top - larger, x - larger, 0, 0)).xy;
        if (j >= keys) e = vec2(1, 0);
        else top = larger;
        total = total * e.x + e.y;
        [[unroll]] for (uint i = 0; i < OWN4; i++) sum[i] = sum[i] * e.x + e.y * (SHARE > 1 ? value[i] : load4(v, values + i));
    }
    float most = reduce_max(top), factor = exp1(top - most), all = reduce_sum(lane % SHARE == 0 ? vec4(total * factor) : vec4(0)).x;
    [[unroll]] for (uint i = 0; i < OWN4; i++) {
        vec4 x = keys_sum(sum[i] * factor);
        if (lane / SHARE == i % KEYS && in_row(i)) y[y_row(b, t, h) + own(i)] = st4(x / all);
    }
}
