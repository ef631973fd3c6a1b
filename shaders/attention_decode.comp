// attention_decode: attention of few queries to long caches. y[t] = sum_j softmax_j(scale q[t].k[j]) v[j] over the keys
// j <= start + t. Shapes as in lib/attention.glsl. One workgroup per row of y: its invocations take keys in turn, each with
// a softmax of its own, online, and those are joined at the end.
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

float capped(float x) {
    if (CAPPED) return p.cap * tanh4(vec4(x / p.cap)).x;
    return x;
}

void main() {
    if (flat_group() >= p.batch * p.queries * p.heads) return;
    uint h = flat_group() % p.heads, t = flat_group() / p.heads % p.queries, b = flat_group() / p.heads / p.queries;
    uint row = q_row(b, t, h), keys = min(min(start, p.capacity) + t + 1, p.capacity);
    vec4 query[S4], sum[S4];
    [[unroll]] for (uint s = 0; s < S4; s++) {
        query[s] = load4(q, row + s) * p.scale;
        sum[s] = vec4(0);
    }
    float top = -INFINITY, total = 0.0;
    for (uint first = first_key(keys - 1); first < keys; first += LOCAL) { // as often for all: lavapipe runs the longest loop for each
        uint j = first + lane, at = min(j, keys - 1), from = k_row(b, at, h / p.group), values = v_row(b, at, h / p.group);
        vec4 products = vec4(0);
        [[unroll]] for (uint s = 0; s < S4; s++) products += query[s] * load4(k, from + s);
        float x = capped(dot(products, vec4(1))), larger = max(top, x);
        vec2 e = exp4(vec4(top - larger, x - larger, 0, 0)).xy;
        if (j >= keys) e = vec2(1, 0);
        else top = larger;
        total = total * e.x + e.y;
        [[unroll]] for (uint s = 0; s < S4; s++) sum[s] = sum[s] * e.x + e.y * load4(v, values + s);
    }
    float most = reduce_max(top), factor = exp1(top - most), all = reduce_sum(vec4(total * factor)).x;
    [[unroll]] for (uint s = 0; s < S4; s++) {
        vec4 x = reduce_sum(sum[s] * factor);
        if (lane == s % LOCAL) y[y_row(b, t, h) + s] = st4(x / all);
    }
}
